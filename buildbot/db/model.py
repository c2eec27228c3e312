"""The schema, and the check whether a database has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Table, column, inspect, select, table
from sqlalchemy.engine import Engine
from twisted.internet.defer import Deferred

from buildbot.db.dialects.context import dialect_of
from buildbot.db.exceptions import UnknownSchemaError
from buildbot.db.pool import DBThreadPool
from buildbot.resources import metadata

VERSION_TABLE = "alembic_version"


class _Tables(type):
    """Makes the tables attributes of the class."""

    def __getattr__(cls, name: str) -> Table:
        try:
            return metadata.tables[name]
        except KeyError:
            raise AttributeError(f"the schema has no table {name!r}") from None

    def __dir__(cls) -> list[str]:
        return [*super().__dir__(), *metadata.tables]


class Model(metaclass=_Tables):
    """The canonical description of the schema: its tables are class variables (``Model.buildrequests``).

    New databases are made by the migrations, not by the model; a test holds the two together.
    """

    #: the tables' MetaData; not bound to an engine
    metadata = metadata

    def __init__(self, pool: DBThreadPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Table:
        return getattr(type(self), name)  # type: ignore[no-any-return]

    def is_current(self) -> Deferred[bool]:
        """Whether the database has the newest schema; Deferred."""
        return self._pool.do_with_engine(is_current)

    def upgrade(self, progress: Callable[[str], Any] | None = None) -> Deferred[None]:
        """Bring the database to the newest schema; Deferred.

        Args:
            progress: called, in a thread, with a line about each migration as it begins.
        """
        return self._pool.do_with_engine(upgrade, progress)


_MIGRATIONS = Path(__file__).with_name("migrations")


def versions(engine: Engine) -> tuple[str | None, str]:
    """The revision of a database (None: empty) and the newest one. UnknownSchemaError for a foreign schema."""
    with engine.connect() as conn:
        version = table(VERSION_TABLE, column("version_num"))
        found = conn.scalar(select(version.c.version_num)) if inspect(conn).has_table(VERSION_TABLE) else None
    if found is not None and found > max(_known()):
        raise UnknownSchemaError(
            f"the database has version {found} of a schema that is not of this program: it is one of Buildbot's, or of"
            " a newer version. Give this master a database of its own; buildbot import brings over one of Buildbot's"
        )
    return found, max(_known())


@cache
def _known() -> frozenset[str]:
    """The revisions, from the names of the migrations' files: alembic takes megabytes, and is imported only for an
    upgrade.
    """
    return frozenset(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("*_*.py"))


def is_current(engine: Engine) -> bool:
    """Whether a database has the newest schema."""
    found, newest = versions(engine)
    return found == newest


def upgrade(engine: Engine, progress: Callable[[str], Any] | None = None, to: str | None = None) -> None:
    """Run the migrations that a database lacks, each in a transaction where the database allows that.

    ``to``: the revision to stop at, the newest unless given.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    found, newest = versions(engine)
    steps = list(ScriptDirectory.from_config(config).iterate_revisions(to or newest, found or "base"))
    with engine.connect() as conn, dialect_of(conn).unhurried(conn):
        config.attributes["connection"] = conn
        for step in reversed(steps):
            if progress is not None:
                progress(f"{step.revision}: {step.doc}")
            command.upgrade(config, step.revision)
            conn.commit()
