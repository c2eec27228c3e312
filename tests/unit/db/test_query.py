"""Caches of queries."""

from __future__ import annotations

from itertools import islice, permutations
from typing import Any

from buildbot.db.dialects import dialect_for
from buildbot.db.dialects.base import COMPILED
from buildbot.db.engine import query, rows
from buildbot.resources.builds import BUILD


async def test_many_shapes(master: Any) -> None:
    """The caches of compiled queries have a limit, for any number of different queries."""
    fields = [name for name in BUILD.fields if BUILD.kind(name) == "int"]
    for chosen in islice(permutations(fields, 4), 2 * query.SHAPES):
        await master.data.get({"fields": list(chosen)}, ("builds",))
        await master.data.get({"filters": {f"{chosen[0]}__in": [1, 2]}, "order": list(chosen)}, ("builds",))
    assert query._prepared.cache_info().currsize <= query.SHAPES
    assert rows.reader_of.cache_info().currsize <= rows.READERS
    # SQLAlchemy's cache exceeds its size by half before it is cut
    assert len(master.db.pool.engine._compiled_cache) <= 1.5 * COMPILED


def test_postgresql_sees_the_limit() -> None:
    """It makes one plan for all values of a parameter, and would take a limit for a tenth of the rows."""
    dialect = dialect_for("postgresql://host/database")
    path = next(path for path in BUILD.paths if path.pattern == "builds")
    listing = query._listing(dialect, BUILD, path, query.Query(limit=50), True)
    assert str(listing.compile(dialect.create_engine())).endswith("LIMIT 50")
