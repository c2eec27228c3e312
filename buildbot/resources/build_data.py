"""Build data: bytes that a build stores under a name, in a table of their own, so that lists do not load them."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, cast, null

from buildbot.resources.base import Blob, Field, Hash, Id, LinkTo, Path, Resource, id_column, table
from buildbot.resources.builds import BUILD_BY_NAME, BUILD_BY_NUMBER

build_data = table(
    "build_data",
    id_column(),
    Column("buildid", Id, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False),
    Column("length", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Index("uq_build_data_buildid_name_hash", "buildid", "name_hash", unique=True),
)

build_data_values = table(
    "build_data_values",
    Column("build_dataid", Id, ForeignKey("build_data.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("value", Blob, nullable=False),
)


class BuildDataDict(TypedDict):
    """The description of a build's data, in the connector and in the Data API."""

    buildid: int
    name: str
    length: int
    value: None
    source: str


_BUILDS = {
    "builds/n:buildid": None,
    "builders/n:builderid/builds/n:build_number": build_data.c.buildid.in_(BUILD_BY_NUMBER),
    "builders/s:buildername/builds/n:build_number": build_data.c.buildid.in_(BUILD_BY_NAME),
}

BUILD_DATA = Resource(
    "build_data",
    "build_data",
    table=build_data,
    key="name",
    announced=False,
    build_by="buildid",
    doc="Bytes that a build stores under a name.",
    entity=BuildDataDict,
    growing=True,
    fields={
        "buildid": Field(build_data.c.buildid, "its build"),
        "name": Field(build_data.c.name, "unique in its build"),
        "length": Field(build_data.c.length, "the size of the value in bytes"),
        "value": Field(cast(null(), Text), "always None; the bytes are at …/value", kind="json"),
        "source": Field(build_data.c.source, "what set it"),
    },
    paths=(
        *(Path(f"{build}/data", where=where) for build, where in _BUILDS.items()),
        *(Path(f"{build}/data/i:name", where=where) for build, where in _BUILDS.items()),
    ),
    links={"build": LinkTo("builds/{buildid}")},
    order=("name",),
)
