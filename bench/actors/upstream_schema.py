"""Makes upstream's tables in an empty database: ``VENV/bin/python -P upstream_schema.py DATABASE_URL``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import alembic.config
import alembic.script
import sqlalchemy
from alembic.runtime.migration import MigrationContext

import buildbot

if not Path(str(buildbot.__file__)).is_relative_to(sys.prefix):
    sys.exit(f"{buildbot.__file__} is not the package of {sys.prefix}")


def main(url: str) -> None:
    """Create all tables and say that they are current."""
    model = importlib.import_module("buildbot.db.model").Model
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        model.metadata.create_all(connection)
        connection.commit()
        scripts = alembic.script.ScriptDirectory.from_config(alembic.config.Config(model.config_path))
        MigrationContext.configure(connection).stamp(scripts, str(scripts.get_current_head()))
        connection.commit()
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
