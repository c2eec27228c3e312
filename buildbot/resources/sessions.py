"""Sessions of people who are logged in, shared by the masters of the installation."""

from __future__ import annotations

from sqlalchemy import Column

from buildbot.resources.base import Hash, JsonText, UnixTime, id_column, table

sessions = table(
    "sessions",
    id_column(),
    # the hash of the token; the token itself is only in the browser's cookie
    Column("token_hash", Hash, nullable=False, unique=True),
    Column("user_info", JsonText, nullable=False),
    Column("expires_at", UnixTime, nullable=False, index=True),
)
