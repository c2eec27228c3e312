"""A database with over 100,000 rows of each noun that grows, made by a few statements."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, String, Table, case, cast, insert, literal, select, text
from sqlalchemy.engine import Connection

from buildbot.resources import metadata

SIZE = 100_000
#: rows made by the first statement, from which the others multiply
SEED = 1000
#: builders, masters, codebases
BUILDERS = 20
T = metadata.tables


def thd_fill(conn: Connection) -> None:
    """Fill an empty migrated database; ids count from 1."""
    if conn.dialect.name == "postgresql" and conn.scalar(text("SELECT current_setting('is_superuser')")) == "on":
        # checks no foreign keys, which takes two thirds of the time
        conn.execute(text("SET LOCAL session_replication_role=replica"))
    sets = T["sourcestampsets"]
    conn.execute(insert(sets), [{"id": number} for number in range(1, SEED + 1)])
    few, times = sets.alias("few"), sets.alias("times")
    more = select(few.c.id + SEED * times.c.id).join_from(few, times, times.c.id < SIZE // SEED + 1)
    conn.execute(insert(sets).from_select(["id"], more))
    number = sets.c.id
    number_text = cast(number, String(20))
    small = [{"id": n, "name": f"n{n}", "name_hash": f"h{n}"} for n in range(1, BUILDERS + 1)]
    conn.execute(insert(T["masters"]), small)
    conn.execute(insert(T["builders"]), [{**row, "tags": "[]"} for row in small])
    conn.execute(insert(T["workers"]), [{**row, "info": "{}"} for row in small])
    conn.execute(insert(T["projects"]), [{**row, "slug": row["name"]} for row in small[:1]])
    conn.execute(insert(T["codebases"]), [{**row, "slug": "c", "projectid": 1} for row in small])
    builder, time = number % BUILDERS + 1, number + 1_700_000_000
    #: of all but the newest few
    over: Any = number < SIZE - 50
    result = case((over, number % 7), else_=-1)
    texts = dict.fromkeys(("repository", "project"), literal("x"))

    def rows(table: str, **values: ColumnElement[Any]) -> None:
        target: Table = T[table]
        conn.execute(insert(target).from_select(list(values), select(*values.values()).select_from(sets)))

    revision = literal("r") + number_text
    stamp: dict[str, Any] = {**texts, "revision": revision, "branch": literal("main"), "codebase": literal("n1")}
    rows("sourcestamps", id=number, content_hash=number_text, created_at=time, **stamp)
    rows("sourcestampset_members", sourcestampsetid=number, ssid=number)
    empty = {name: literal("[]") for name in ("files", "links", "parent_changeids")}
    change: dict[str, Any] = {**stamp, **empty, "properties": literal("{}"), "history_hash": literal("l")}
    said = {"author": literal("a"), "comments": literal("c")}
    rows("changes", id=number, when_timestamp=time, sourcestampid=number, **change, **said)
    rows("sourcestampset_changes", sourcestampsetid=number, ssid=number, changeid=number)
    rows(
        "buildsets",
        id=number,
        reason=literal("r"),
        sourcestampsetid=number,
        submitted_at=time,
        complete=case((over, 1), else_=0),
        results=result,
        parent_buildid=case((number % 10 == 0, number - 1), else_=None),
        properties=literal("{}"),
    )
    rows(
        "buildrequests",
        id=number,
        buildsetid=number,
        builderid=builder,
        priority=number % 3,
        complete=case((over, 1), else_=0),
        results=result,
        submitted_at=time,
        complete_at=case((over, time), else_=None),
        claimed_by_masterid=case((number < SIZE - 25, 1), else_=None),
    )
    rows(
        "builds",
        id=number,
        number=number,
        builderid=builder,
        buildrequestid=number,
        workerid=builder,
        masterid=builder,
        started_at=time,
        complete_at=case((over, time + 5), else_=None),
        state_string=literal("s"),
        results=case((over, number % 7), else_=None),
    )
    step = {"number": number % 1, "name": literal("compile"), "name_hash": number_text}
    rows("steps", id=number, buildid=number, state_string=literal("s"), urls=literal("[]"), **step)
    log = {"name": literal("stdio"), "slug": literal("stdio"), "slug_hash": number_text, "type": literal("s")}
    rows("logs", id=number, stepid=number, complete=literal(1), num_lines=literal(1), **log)
    content = literal(b"o\n", T["logchunks"].c.content.type)
    chunk = {"last_line": literal(0), "compressed": literal(0), "content": content}
    rows("logchunks", logid=number, first_line=number % 1, **chunk)
    data: dict[str, Any] = {
        "name": literal("n"),
        "name_hash": number_text,
        "length": literal(0),
        "source": literal("s"),
    }
    rows("build_data", id=number, buildid=number, **data)
    of = {"builderid": builder, "buildid": number, "stepid": number}
    rows(
        "test_result_sets",
        id=number,
        category=literal("c"),
        value_unit=literal("u"),
        complete=case((over, 1), else_=0),
        **of,
    )
    rows("test_results", id=number, builderid=builder, test_result_setid=number % 1000 + 1, value=literal("1"))
    rows(
        "commits",
        id=number,
        codebaseid=builder,
        revision=revision,
        revision_hash=number_text,
        when_timestamp=time,
        parent_commitid=case((number > 1, number - 1), else_=None),
        **said,
    )
