"""The last delivery of a change hook for each branch, so that a repeated delivery adds nothing."""

from __future__ import annotations

from sqlalchemy import Column

from buildbot.resources.base import Hash, UnixTime, table

deliveries = table(
    "deliveries",
    Column("delivery_hash", Hash, primary_key=True),
    # the hash of the last delivery's name; delivery_hash is the hash of the branch
    Column("taker", Hash, nullable=False),
    Column("received_at", UnixTime, nullable=False, index=True),
)
