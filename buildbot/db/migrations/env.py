"""Runs the migrations on the connection that ``buildbot.db.model`` gives."""

from __future__ import annotations

from alembic import context

from buildbot.db.model import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
