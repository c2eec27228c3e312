"""The newest builds with some results are found along an index, not sorted out of all that had them."""

from __future__ import annotations

from alembic import op

revision = "007"
down_revision = "006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_builds_results_id", "builds", ["results", "id"])
