"""What a database would do for a statement: which growing tables it would read from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection

#: more rows than this are a scan
MANY = 20_000
#: what PostgreSQL expects a scan of so many rows to cost, in its units
COSTLY = 500

_CLOCK = re.compile(r"\(SELECT clock\.seq\s+FROM clock\s+WHERE [^)]*\)")


class Recorder:
    """A connection that notes the statements that run on it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.statements: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    @property
    def connection(self) -> Any:
        """The pool's connection and the driver's, as ``Statement`` uses them."""
        return self

    dbapi_connection = connection

    def cursor(self) -> Any:
        """A cursor that notes what it executes."""
        return _Cursor(self._conn.connection.cursor(), self.statements)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note also what Core executes itself."""

        def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            self.statements.append((statement, parameters))

        event.listen(self._conn, "before_cursor_execute", note)
        try:
            yield
        finally:
            event.remove(self._conn, "before_cursor_execute", note)


class _Cursor:
    def __init__(self, cursor: Any, statements: list[tuple[str, Any]]) -> None:
        self._cursor = cursor
        self._statements = statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, text: str, arguments: Any = ()) -> Any:
        """Note and execute."""
        self._statements.append((text, arguments))
        return self._cursor.execute(text, arguments)


def is_restricted(statement: str) -> bool:
    """Whether it asks for some rows only; the clock's row, which comes with what is asked for, does not count."""
    return "WHERE" in _CLOCK.sub("", statement)


def scans(conn: Connection, backend: str, statement: tuple[str, Any], growing: set[str]) -> list[str]:
    """What in the plan of a statement reads a growing table from end to end; empty if all is well."""
    found: list[str] = _READERS[backend](conn, *statement, growing)
    return found


def _explained(conn: Connection, words: str, text: str, arguments: Any) -> list[Any]:
    cursor = conn.connection.cursor()
    cursor.execute(f"{words} {text}", arguments)
    return list(cursor.fetchall())


def _sqlite(conn: Connection, text: str, arguments: Any, growing: set[str]) -> list[str]:
    details = [row[3] for row in _explained(conn, "EXPLAIN QUERY PLAN", text, arguments)]
    names = growing | set(_aliases(text, growing))
    scanned = [d for d in details if (m := re.match(r"SCAN (\w+)", d)) and m[1] in names]
    # a page along an order
    if not is_restricted(text) and _is_page(text) and not any("TEMP B-TREE FOR ORDER BY" in d for d in details):
        return []
    return scanned


def _postgresql(conn: Connection, text: str, arguments: Any, growing: set[str]) -> list[str]:
    ((plan,),) = _explained(conn, "EXPLAIN (FORMAT JSON)", text, arguments)
    plan = json.loads(plan) if isinstance(plan, str) else plan
    found: list[str] = []

    def look(node: dict[str, Any]) -> None:
        if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan") and node["Relation Name"] in growing:
            found.append(f"{node['Node Type']} on {node['Relation Name']}: {node.get('Filter')}")
        # a page along an order, but past too much that is not wanted
        walks = node["Node Type"].startswith("Index") and "Filter" in node and "Index Cond" not in node
        if walks and plan[0]["Plan"]["Total Cost"] > COSTLY:
            found.append(f"{node['Node Type']} by {node['Index Name']}: {node['Filter']}")
        for inner in node.get("Plans", ()):
            look(inner)

    look(plan[0]["Plan"])
    return found


def _mysql(conn: Connection, text: str, arguments: Any, growing: set[str]) -> list[str]:
    rows = _explained(conn, "EXPLAIN", text, arguments)
    names = growing | set(_aliases(text, growing))
    found = []
    for _, _, table, kind, _, key, *_, count, extra in rows:
        whole = kind == "ALL" or (kind == "index" and int(count or 0) > MANY)
        if table in names and whole:
            found.append(f"{kind} of {table} by {key}, {count} rows: {extra}")
    return found


def _aliases(text: str, growing: set[str]) -> Iterator[str]:
    for table, alias in re.findall(r"\b(\w+) AS (\w+)", text):
        if table in growing:
            yield alias


def _is_page(text: str) -> bool:
    return re.search(r"\bLIMIT\b", text) is not None


_READERS = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
