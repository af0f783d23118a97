"""Fewer indexes on what every arrival writes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FAILURE = sa.text("state IN ('failed', 'quarantined')")
_REFUSED = sa.text("outcome = 'refused'")


def upgrade() -> None:
    """Two of a kind become one; rare rows get an index of their own; what nobody asks by loses it."""
    op.drop_index("ix_sop_instance_state_lane_id", "sop_instance")
    op.drop_index("ix_sop_instance_state_state_changed_at_size", "sop_instance")
    op.create_index("ix_sop_instance_queue", "sop_instance", ["state", "lane", "id", "state_changed_at", "size"])
    op.create_index(
        "ix_sop_instance_failure",
        "sop_instance",
        ["state", "state_changed_at"],
        sqlite_where=_FAILURE,
        postgresql_where=_FAILURE,
    )
    op.drop_index("ix_ledger_received_at", "ledger")
    op.drop_index("ix_ledger_outcome_reason_code_id", "ledger")
    op.drop_index("ix_ledger_object_id", "ledger")
    op.create_index("ix_ledger_received_at_outcome_reason_code", "ledger", ["received_at", "outcome", "reason_code"])
    op.create_index("ix_ledger_refused", "ledger", ["outcome", "id"], sqlite_where=_REFUSED, postgresql_where=_REFUSED)
