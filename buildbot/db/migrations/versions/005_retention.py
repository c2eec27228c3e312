"""Stamps are found by their patch, so that a patch can be removed without looking at all of them."""

from __future__ import annotations

from alembic import op

revision = "005"
down_revision = "004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_sourcestamps_patchid", "sourcestamps", ["patchid"])
