"""Codebases: the repositories of a project."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Text, bindparam

from buildbot.resources.base import Field, Hash, Id, LinkTo, Path, Resource, id_column, table

codebases = table(
    "codebases",
    id_column(),
    Column("projectid", Id, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False),
    Column("slug", Text, nullable=False),
    Index("uq_codebases_projectid_name_hash", "projectid", "name_hash", unique=True),
)


class CodebaseDict(TypedDict):
    """A codebase, in the connector and in the Data API."""

    codebaseid: int
    projectid: int
    name: str
    slug: str


CODEBASE = Resource(
    "codebase",
    "codebases",
    table=codebases,
    key="codebaseid",
    announced=False,
    doc="A repository of a project.",
    entity=CodebaseDict,
    fields={
        "codebaseid": Field(codebases.c.id, "unique in the installation"),
        "projectid": Field(codebases.c.projectid, "its project"),
        "name": Field(codebases.c.name, "as configured; unique in its project"),
        "slug": Field(codebases.c.slug, "a short name for pages, by default the name"),
    },
    paths=(
        Path("codebases"),
        Path("codebases/n:codebaseid"),
        Path("projects/n:projectid/codebases/i:codebasename", where=codebases.c.name == bindparam("codebasename")),
    ),
    events=("codebases/{codebaseid}",),
    event_names=("update",),
    links={
        "project": LinkTo("projects/{projectid}"),
        "branches": LinkTo("codebases/{codebaseid}/branches"),
        "commits": LinkTo("codebases/{codebaseid}/commits"),
    },
    order=("codebaseid",),
)
