"""Users, and the attributes by which other systems know them."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Text

from buildbot.resources.base import Hash, Id, id_column, table

users = table(
    "users",
    id_column(),
    Column("identifier", Text, nullable=False),
    Column("identifier_hash", Hash, nullable=False, index=True),
    Column("bb_username", Text),
    Column("bb_username_hash", Hash, index=True),
    Column("bb_password", Text),
)

users_info = table(
    "users_info",
    Column("uid", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("attr_type_hash", Hash, primary_key=True),
    Column("attr_type", Text, nullable=False),
    Column("attr_data", Text, nullable=False),
    # of type and data: one attribute belongs to one user
    Column("attr_hash", Hash, nullable=False, unique=True),
)

change_users = table(
    "change_users",
    Column("changeid", Id, ForeignKey("changes.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("uid", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Index("ix_change_users_uid", "uid"),
)
