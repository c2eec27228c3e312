"""Open requests and buildsets are found by indexes that hold nothing else, where the database has such indexes."""

from __future__ import annotations

from alembic import op

revision = "004"
down_revision = "003"
branch_labels = None
depends_on = None

#: an index of such rows alone where there are such indexes (buildbot.db.dialects.expressions)
OPEN = "complete = 0"
OPEN_OR_UNCLAIMED = "complete = 0 OR claimed_by_masterid IS NULL"


def upgrade() -> None:
    """Create the new indexes before the old ones go: a foreign key may need one of them."""
    for name, table, columns, where in (
        ("open", "buildrequests", ["complete", "claimed_by_masterid", "builderid", "priority", "id"], OPEN),
        ("claims", "buildrequests", ["claimed_by_masterid", "complete"], OPEN_OR_UNCLAIMED),
        ("open", "buildsets", ["complete", "id"], OPEN),
    ):
        op.create_index(f"ix_{table}_{name}", table, columns, info={"only_where": where})
    op.drop_index("ix_buildrequests_pending", "buildrequests")
    op.drop_index("ix_buildrequests_claimed_by_masterid", "buildrequests")
    op.drop_index("ix_buildsets_complete", "buildsets")
