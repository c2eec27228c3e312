"""The log of events, and the clock that numbers them."""

from __future__ import annotations

from sqlalchemy import Column, Text, text

from buildbot.resources.base import Flag, Hash, Id, JsonText, UnixTime, table

#: one row: the last number given out, and the last number removed from the log
clock = table(
    "clock",
    Column("id", Flag, primary_key=True, autoincrement=False),
    Column("seq", Id, nullable=False, server_default=text("0")),
    Column("trimmed", Id, nullable=False, server_default=text("0")),
)

events = table(
    "events",
    Column("seq", Id, primary_key=True, autoincrement=False),
    # one key a line, segments joined by slashes; empty for a marker of a commit that announces nothing
    Column("routing_keys", Text, nullable=False),
    Column("body", JsonText, nullable=False),
    # no foreign key: it would lock the master's row behind the clock's
    Column("masterid", Id, nullable=False),
    Column("group_token", Hash, nullable=False),
    Column("created_at", UnixTime, nullable=False),
)

#: consumers that survive a restart, and their positions
consumers = table(
    "consumers",
    Column("name_hash", Hash, primary_key=True),
    Column("name", Text, nullable=False),
    Column("seq", Id, nullable=False),
)
