"""Old events are found by bisection of the numbers: an index on the time cost every write."""

from __future__ import annotations

from alembic import op

revision = "006"
down_revision = "005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_events_created_at", "events")
