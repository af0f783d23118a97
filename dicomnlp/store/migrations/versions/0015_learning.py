"""What a trained model had its say in, and what the rules alone say there."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; they stay empty for what was read by the rules alone."""
    op.add_column("finding", sa.Column("rules_assertion", CleanText(), nullable=True))
    op.add_column("finding", sa.Column("model_probability", sa.Double(), nullable=True))
    op.add_column("analysis", sa.Column("rules_labels", Json(), nullable=True))
    op.add_column("analysis", sa.Column("model", CleanText(), nullable=False, server_default=""))
