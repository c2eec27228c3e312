"""Workers say what keeps them from building, and what those that are started on demand are doing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "007"
down_revision = "006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("workers", sa.Column("quarantined_until", sa.BigInteger))
    op.add_column("workers", sa.Column("state_string", sa.Text))
