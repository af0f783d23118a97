"""What a report asks for, grades, says it told, and says of the patient; acuity, number and places of findings."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; `dicomnlp reprocess --outdated` fills them for what is held."""
    for name in ("recommendations", "scores", "communications", "demographics"):
        op.add_column("analysis", sa.Column(name, Json(), nullable=False, server_default="[]"))
    for name in ("acuity", "count"):
        op.add_column("finding", sa.Column(name, CleanText(), nullable=True))
    for name in ("levels", "image_references"):
        op.add_column("finding", sa.Column(name, Json(), nullable=False, server_default="[]"))
