"""Rows that are found by a name of any length, and added on first use, also by several masters at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.engine import Connection

from buildbot.db.dialects.context import transaction_of
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.statements import Statement
from buildbot.util import checks


class NamedRows:
    """Finds or adds rows of a table with the columns ``name`` and ``name_hash``.

    ``lasting``: rows are never removed, so that ``ids`` reads each only once. ``defaults`` are values of further
    columns, or functions that make them from the name.
    """

    def __init__(self, table: Table, lasting: bool = False, **defaults: Any) -> None:
        self._table = table.name
        self._lasting = lasting
        self._defaults = defaults
        self._find = Statement(select(table.c.id).where(table.c.name_hash == _bind("name_hash")))
        self._find_many = Statement(select(table.c.name, table.c.id).where(IdIn(table.c.name_hash)))
        names = ["name", "name_hash", *defaults]
        self._insert = Statement(insert(table).values({name: _bind(name) for name in names}))

    def id(self, conn: Connection, name: str, what: str = "name") -> int:
        """The id of the row with this name, which is added if there is none."""
        name_hash = checks.name_hash(checks.text(name, what))
        found = self._find.scalar(conn, name_hash=name_hash)
        if found is None:
            with again_if_taken(conn):  # so that exactly one transaction knows that it has added the row
                self._insert.run(conn, **self._row(name))
            found = self._find.scalar(conn, name_hash=name_hash)
            self._note_made(conn, [found])
        return int(found)

    def ids(self, conn: Connection, names: list[str]) -> dict[str, int]:
        """The ids by name, for many names at once."""
        if not self._lasting:
            return self._find_or_make(conn, names)
        kept = transaction_of(conn).names
        missing = [name for name in names if (self._table, name) not in kept]
        if missing:
            found = self._find_or_make(conn, missing)
            kept.update({(self._table, name): identifier for name, identifier in found.items()})
        return {name: kept[self._table, name] for name in names}

    def _find_or_make(self, conn: Connection, names: list[str]) -> dict[str, int]:
        found = self.known(conn, names)
        missing = sorted(set(names) - set(found), key=checks.name_hash)
        if missing:
            with again_if_taken(conn):
                self._insert.many(conn, [self._row(name) for name in missing])
            added = self.known(conn, missing)
            found.update(added)
            self._note_made(conn, sorted(added.values()))
        return found

    def _note_made(self, conn: Connection, ids: Iterable[int]) -> None:
        transaction_of(conn).made += [(self._table, identifier) for identifier in ids]

    def _row(self, name: str) -> dict[str, Any]:
        more = {column: value(name) if callable(value) else value for column, value in self._defaults.items()}
        return {"name": name, "name_hash": checks.name_hash(name), **more}

    def known(self, conn: Connection, names: list[str]) -> dict[str, int]:
        """The ids by name, of those that exist."""
        if len(names) == 1:
            found = self._find.scalar(conn, name_hash=checks.name_hash(names[0]))
            return {} if found is None else {names[0]: found}
        rows = self._find_many.all(conn, ids=[checks.name_hash(name) for name in names])
        return dict(rows)


def _bind(name: str) -> Any:
    from sqlalchemy import bindparam

    return bindparam(name)
