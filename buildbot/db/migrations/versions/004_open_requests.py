"""Open requests and buildsets are found by indexes that hold nothing else, where the database has such indexes."""

from __future__ import annotations

from alembic import op

revision = "004"
down_revision = "003"
branch_labels = None
depends_on = None

#: an index of such rows alone where there are such indexes (buildbot.db.dialects.expressions)
OPEN = {"only_where": "complete = 0"}


def upgrade() -> None:
    """Create the new indexes before the old ones go: a foreign key may need one of them."""
    for name, table, columns in (
        ("open", "buildrequests", ["complete", "claimed_by_masterid", "builderid", "priority", "id"]),
        ("claims", "buildrequests", ["claimed_by_masterid", "complete"]),
        ("open", "buildsets", ["complete", "id"]),
    ):
        op.create_index(f"ix_{table}_{name}", table, columns, info=OPEN)
    op.drop_index("ix_buildrequests_pending", "buildrequests")
    op.drop_index("ix_buildrequests_claimed_by_masterid", "buildrequests")
    op.drop_index("ix_buildsets_complete", "buildsets")
