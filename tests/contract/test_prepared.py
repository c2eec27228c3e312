"""PostgreSQL's prepared statements and connections, under what administrators, settings and values do to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, literal, select
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import gatherResults

from buildbot.db.dialects import InvalidURLError, dialect_for
from buildbot.db.dialects.postgresql_prepared import PreparedCursor
from buildbot.db.engine.statements import Statement
from buildbot.db.model import upgrade
from buildbot.resources import objects
from buildbot.state import StateLayer
from buildbot.util.checks import name_hash
from tests.support.databases import database_url, selected_backends
from tests.support.events import next_turn
from tests.support.reactor import reactor, run
from tests.support.state import Database, open_database

pytestmark = pytest.mark.skipif("postgresql" not in selected_backends(), reason="only PostgreSQL")

_add = Statement(insert(objects).values({c: bindparam(c) for c in ("name", "class_name", "object_hash")}))
_same = Statement(select(bindparam("value", literal(0).type)))
_text = Statement(select(bindparam("value", literal("").type)))
_class = Statement(select(objects.c.class_name).where(objects.c.object_hash == bindparam("hash")))


def thd_add(conn: Connection, name: str) -> None:
    """Add an object, by the package's own statement."""
    _add.run(conn, name=name, class_name="", object_hash=name_hash(name))


def thd_prepared(conn: Connection) -> int:
    """How often the session has the statement of ``thd_add``."""
    counted = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO objects%%'"
    return int(conn.exec_driver_sql(counted).scalar_one())


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database of this module."""
    with open_database("postgresql", tmp_path_factory.mktemp("prepared")) as database:
        yield database


@pytest.fixture
def state(migrated: Database) -> Iterator[Any]:
    """A master whose reads on the reactor's connection are connected."""
    migrated.empty()
    with migrated.master("m") as master:
        run(_connected(master))
        yield master


async def _connected(master: Any) -> None:
    asker = master.db.pool._reactor_reader.asker
    while asker._connection is None:
        await master.db.pool.read_short(lambda conn: _same.scalar(conn, value=1))
        await next_turn()


def test_queries_without_values(migrated: Database) -> None:
    """A query without values is planned once, as others are; what begins and ends transactions is not prepared."""
    assert migrated.engine is not None
    with migrated.engine.connect() as conn:
        cursor = conn.connection.dbapi_connection.prepared_cursor()  # type: ignore[union-attr]
        for text in ("SELECT id FROM masters", " with a as (select 1) select * from a", "SAVEPOINT s", "RELEASE s"):
            for _ in range(3 if "s" not in text.split() else 1):
                cursor.execute(text)
        kept = conn.exec_driver_sql(
            "SELECT statement FROM pg_prepared_statements WHERE name LIKE 'tenfold%%'"
        ).scalars()
        assert sorted(kept) == [" with a as (select 1) select * from a", "SELECT id FROM masters"]
        conn.invalidate()  # no other test gets this session


async def test_failures_leave_nothing(state: Any) -> None:
    """A statement that fails stays prepared: the session of a master for months does not fill with forgotten ones."""
    pool = state.db.pool
    await pool.do(thd_add, "x")

    async def fail() -> None:
        with pytest.raises(IntegrityError):
            await pool.do(thd_add, "x")

    for _ in range(40):
        await fail()
    assert max(await gatherResults([pool.do(thd_prepared) for _ in range(8)])) <= 1


async def test_failures_of_the_first_time(migrated: Database) -> None:
    """So does one that fails when it is prepared in the same message; one that cannot be prepared is not noted."""
    assert migrated.engine is not None
    with migrated.engine.connect() as conn:
        cursor = conn.connection.dbapi_connection.prepared_cursor()  # type: ignore[union-attr]
        assert isinstance(cursor, PreparedCursor)
        prepared = cursor.statements._prepared
        texts = {"SELECT 1 / %s::int": (0,), "SELECT nothing_like_it(%s)": (1,)}
        for _ in range(3):
            for text, values in texts.items():
                with pytest.raises(Exception, match=r"division|does not exist"):
                    cursor.execute(text, values)
                conn.connection.rollback()
        assert [key[0] for key in prepared] == ["SELECT 1 / %s::int"]
        names = conn.exec_driver_sql("SELECT name FROM pg_prepared_statements WHERE name LIKE 'tenfold%%'").scalars()
        assert list(names) == [each.name.decode() for each in prepared.values()]


async def test_changed_table(state: Any) -> None:
    """After a change of a column's type every read and write works, as if nothing had been prepared."""
    pool = state.db.pool
    await pool.do(thd_add, "x")
    reads = (pool.do, pool.read, pool.read_short, pool.snapshot)

    def thd_alter(engine: Engine, kind: str) -> None:
        with engine.begin() as conn:
            conn.exec_driver_sql(f"ALTER TABLE objects ALTER COLUMN class_name TYPE {kind}")

    for kind in ("varchar(77)", "text", "varchar(128)"):
        for read in reads:
            await gatherResults([read(lambda conn: _class.scalar(conn, hash=name_hash("x"))) for _ in range(4)])
        await pool.do_with_engine(thd_alter, kind)
        for read in reads:
            for _ in range(4):
                assert await read(lambda conn: _class.scalar(conn, hash=name_hash("x"))) == ""
        await _connected(state)


async def test_values_that_cannot_be_sent(state: Any) -> None:
    """The caller of a short read gets the error, as its Deferred's, also if it is not the first statement."""

    def thd(conn: Connection, value: Any, first: bool) -> Any:
        return (None if first else _same.scalar(conn, value=1)), _text.scalar(conn, value=value)

    for value, error in (("\ud800", "surrogates"), ("a\0b", "NUL"), (object(), "adapt")):
        for first in (True, False):
            with pytest.raises(Exception, match=error):
                await state.db.pool.read_short(thd, value, first).addTimeout(20, reactor)
    assert await state.db.pool.read_short(thd, "x", False) == (1, "x")


@pytest.mark.parametrize(
    "query",
    [
        {"connect_timeout": "7"},
        {"prepare_threshold": "0"},
        {"client_encoding": "latin1"},
        {"options": "-c default_transaction_isolation=serializable"},
        {"host": "two"},
    ],
    ids=lambda query: next(iter(query)),
)
async def test_options_of_the_url(migrated: Database, query: dict[str, str]) -> None:
    """What the URL says of the connection is said to all of the master's connections, and breaks none."""
    assert migrated.url is not None
    url = make_url(migrated.url)
    if "host" in query:
        url = url.set(host=None, port=None).update_query_dict({"host": (f"{url.host}:1", f"{url.host}:{url.port}")})
    else:
        url = url.update_query_dict(query)
    master = StateLayer(url.render_as_string(hide_password=False), "by url", reactor)
    try:
        await master.open()
        await _connected(master)
        text = "\N{SNOWMAN}\N{PILE OF POO}"
        objectid = await master.db.state.getObjectId(text, "C")
        await master.db.state.setState(objectid, text, text)
        assert await master.db.state.getState(objectid, text) == text
        shown = "SHOW default_transaction_isolation"
        assert await master.db.pool.do(lambda conn: conn.exec_driver_sql(shown).scalar()) == "read committed"
    finally:
        await master.close()


def test_other_encoding() -> None:
    """A database that cannot store every text is refused, with a way out."""
    with database_url("postgresql", "utf8") as url:
        plain = make_url(url)
        with dialect_for(url).create_engine().connect() as conn:
            conn.connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
            name = f"{plain.database}_latin1"
            conn.exec_driver_sql(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
            try:
                engine = dialect_for(plain.set(database=name).render_as_string(hide_password=False)).create_engine()
                with pytest.raises(InvalidURLError, match=r"LATIN1.*ENCODING 'UTF8'"):
                    upgrade(engine)
                engine.dispose()
            finally:
                conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("url", ["postgresql://u:secret@h:port/d", "postgresql:/u:secret@h/d", "u:secret@h"])
def test_no_password_is_shown(url: str) -> None:
    """A URL that cannot be read is not repeated: it may hold a password."""
    with pytest.raises(InvalidURLError, match="db_url is no connection string") as raised:
        dialect_for(url)
    assert "secret" not in str(raised.value)


async def test_idle_for_too_long(state: Any, migrated: Database) -> None:
    """The server ended a transaction that stood still: the call is run again, also if SQLAlchemy met the error."""
    attempts: list[int] = []

    def thd_gone(pid: int) -> None:
        assert migrated.engine is not None
        with migrated.engine.connect() as conn:
            while conn.exec_driver_sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).first():
                conn.rollback()

    def thd(conn: Connection) -> int:
        thd_add(conn, "x")
        pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        attempts.append(pid)
        if len(attempts) == 1:
            conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 1")
            thd_gone(pid)
        return int(conn.exec_driver_sql("SELECT count(*) FROM objects").scalar_one())

    assert await state.db.pool.do(thd) == 1
    assert len(attempts) == 2
