"""The schema that the migrations make is the model's, and masters refuse any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, select, text
from sqlalchemy.engine import Connection, Engine

from buildbot.db import model
from buildbot.db.dialects import dialect_for
from buildbot.db.dialects.base import MAX_IDLE_S
from buildbot.db.exceptions import DatabaseNotReadyError
from buildbot.db.model import VERSION_TABLE, is_current, upgrade, versions
from buildbot.master import openMaster
from buildbot.resources import clock, metadata
from tests.support.databases import database_url, selected_backends

#: asks for how many seconds a transaction may stand still, where that is limited
IDLE_LIMITS = {
    "postgresql": "SELECT extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)::int",
    "mariadb": "SELECT @@idle_transaction_timeout",
}


@pytest.fixture(params=selected_backends())
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    with database_url(request.param, "migrations", tmp_path) as found:
        yield found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine on an empty database."""
    dialect = dialect_for(url)
    made = dialect.create_engine()
    yield made
    made.dispose()


def described(engine: Engine) -> dict[str, Any]:
    """All that the database says about its tables: columns, keys, indexes."""
    found = inspect(engine)
    tables = {}
    for name in found.get_table_names():
        if name == VERSION_TABLE:
            continue
        columns = {column["name"]: {**column, "type": repr(column["type"])} for column in found.get_columns(name)}
        tables[name] = {
            "columns": columns,
            "primary key": found.get_pk_constraint(name)["constrained_columns"],
            "foreign keys": sorted(found.get_foreign_keys(name), key=repr),
            "indexes": sorted(map(_plain, found.get_indexes(name)), key=repr),
            "unique": sorted(found.get_unique_constraints(name), key=repr),
        }
    return tables


def _plain(index: Any) -> dict[str, Any]:
    """An index, with the text of its condition."""
    return {**index, "dialect_options": {k: str(v) for k, v in index.get("dialect_options", {}).items()}}


def test_same_schema(engine: Engine) -> None:
    """A test compares the migrated schema with the model on every backend, column by column and index by index."""
    metadata.create_all(engine)
    modelled = described(engine)
    metadata.drop_all(engine)
    upgrade(engine)
    migrated = described(engine)
    assert sorted(migrated) == sorted(modelled)
    for name, table in modelled.items():
        for part, expected in table.items():
            assert migrated[name][part] == expected, (name, part)


def test_no_difference(engine: Engine) -> None:
    """Types, lengths, nullability and defaults, as the migration tool sees them: nothing is left to migrate."""
    upgrade(engine)
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_counts_up(engine: Engine) -> None:
    """Ids are given out ascending and never twice: of an emptied table too."""
    upgrade(engine)
    table = metadata.tables["sourcestampsets"]
    ids = []
    for _ in range(3):
        with engine.begin() as conn:
            made = conn.execute(table.insert()).inserted_primary_key
            assert made is not None
            ids.append(made[0])
            conn.execute(table.delete())
    assert ids == sorted(set(ids))


def test_upgrade_of_empty(engine: Engine) -> None:
    """A new database is a migrated version of an empty database."""
    assert versions(engine)[0] is None
    assert not is_current(engine)
    said: list[str] = []
    upgrade(engine, said.append)
    assert is_current(engine)
    assert [line.partition(":")[0] for line in said] == ["001", "002", "003", "004", "005", "006", "007"]
    with engine.connect() as conn:
        assert conn.execute(select(clock)).all() == [(1, 0, 0)]


def test_upgrade_twice(engine: Engine) -> None:
    """Upgrading what is current changes nothing."""
    upgrade(engine)
    before = described(engine)
    upgrade(engine)
    assert described(engine) == before


def _idle_limit(engine: Engine) -> str | None:
    with engine.connect() as conn:
        name = "mariadb" if getattr(conn.dialect, "is_mariadb", False) else conn.dialect.name
    return IDLE_LIMITS.get(name)


def test_may_stand_still(engine: Engine) -> None:
    """A migration that computes for long, or stands still with its machine, keeps its transaction, and only it."""
    ask = _idle_limit(engine)
    if ask is None:
        return  # its locks go with its process
    limits: list[int] = []

    def look(conn: Connection, cursor: Any, statement: str, *rest: Any) -> None:
        if "CREATE TABLE builds (" in statement:
            other = conn.connection.cursor()
            other.execute(ask)
            limits.append(int(other.fetchall()[0][0]))

    event.listen(engine, "before_cursor_execute", look)
    upgrade(engine)
    with engine.connect() as conn:
        limits.append(int(conn.exec_driver_sql(ask).scalar_one()))
    assert limits == [0, MAX_IDLE_S]


def test_failed_upgrade_leaves_no_setting(engine: Engine) -> None:
    """A connection whose migration failed is not used again."""
    ask = _idle_limit(engine)
    if ask is None:
        return

    def fail(conn: Connection, cursor: Any, statement: str, *rest: Any) -> None:
        if "CREATE TABLE builds (" in statement:
            raise RuntimeError("the disk is full")

    event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(RuntimeError, match="disk"):
        upgrade(engine)
    event.remove(engine, "before_cursor_execute", fail)
    with engine.connect() as conn:
        assert int(conn.exec_driver_sql(ask).scalar_one()) == MAX_IDLE_S


async def test_empty_is_refused(url: str) -> None:
    """Without ``upgrade`` an empty database is refused with DatabaseNotReadyError; it stays empty."""
    with pytest.raises(DatabaseNotReadyError, match="upgrade-master"):
        await openMaster(url)
    with pytest.raises(DatabaseNotReadyError):
        await openMaster(url, upgrade=False)


async def test_out_of_date_is_refused(url: str, engine: Engine) -> None:
    """The master refuses an out-of-date database and names the command that upgrades it."""
    upgrade(engine)
    with engine.begin() as conn:
        conn.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '000'"))
    with pytest.raises(DatabaseNotReadyError, match="upgrade-master"):
        await openMaster(url)


async def test_open_and_upgrade(url: str) -> None:
    """``upgrade=True`` migrates first; after it, the database is ready for everybody."""
    for first in (True, False, True):
        master = await openMaster(url, name="m", upgrade=first)
        assert await master.db.model.is_current() is True
        await master.close()


def test_byte_for_byte(engine: Engine) -> None:
    """Every text column compares byte for byte: no database folds case, accents or trailing spaces."""
    upgrade(engine)
    with engine.begin() as conn:
        for value in ("a", "A", "á", "a "):
            insert = text("INSERT INTO consumers (name_hash, name, seq) VALUES (:h, :v, 0)")
            conn.execute(insert, {"h": value, "v": value})
        for value in ("a", "A", "á", "a "):
            query = text("SELECT name FROM consumers WHERE name = :v AND name_hash = :h")
            assert conn.execute(query, {"h": value, "v": value}).scalars().all() == [value]


def test_newest_revision_is_alembics() -> None:
    """The newest revision is known by the names of the migrations' files, as alembic knows it by what is in them."""
    config = Config()
    config.set_main_option("script_location", str(Path(model.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_current_head() == max(model._known())
