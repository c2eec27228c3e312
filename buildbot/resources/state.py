"""Arbitrary state of named objects."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Text

from buildbot.resources.base import Hash, Id, JsonText, id_column, table

objects = table(
    "objects",
    id_column(),
    Column("name", Text, nullable=False),
    Column("class_name", Text, nullable=False),
    Column("object_hash", Hash, nullable=False, unique=True),
)

object_state = table(
    "object_state",
    Column("objectid", Id, ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name_hash", Hash, primary_key=True),
    Column("name", Text, nullable=False),
    Column("value_json", JsonText, nullable=False),
)
