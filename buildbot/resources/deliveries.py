"""Deliveries of change hooks that have been taken, so that a repeated one adds nothing."""

from __future__ import annotations

from sqlalchemy import Column

from buildbot.resources.base import Hash, UnixTime, table

deliveries = table(
    "deliveries",
    Column("delivery_hash", Hash, primary_key=True),
    # random: whoever finds its own here was first
    Column("taker", Hash, nullable=False),
    Column("received_at", UnixTime, nullable=False, index=True),
)
