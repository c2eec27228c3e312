"""Projects, to which builders and codebases belong."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, Text, bindparam, exists

from buildbot.resources.base import Field, Hash, LinkTo, Path, Resource, id_column, table
from buildbot.resources.builders import builder_masters, builders

projects = table(
    "projects",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
    Column("slug", Text, nullable=False),
    Column("description", Text),
    Column("description_format", Text),
    Column("description_html", Text),
)


class ProjectDict(TypedDict):
    """A project, in the connector and in the Data API."""

    projectid: int
    name: str
    slug: str
    active: bool
    description: str | None
    description_format: str | None
    description_html: str | None


PROJECT = Resource(
    "project",
    "projects",
    table=projects,
    key="projectid",
    announced=False,
    doc="A group of builders and codebases.",
    entity=ProjectDict,
    fields={
        "projectid": Field(projects.c.id, "unique in the installation"),
        "name": Field(projects.c.name, "as configured"),
        "slug": Field(projects.c.slug, "a short name for pages, by default the name"),
        "active": Field(
            exists()
            .where(builders.c.projectid == projects.c.id, builder_masters.c.builderid == builders.c.id)
            .correlate(projects),
            "true while a master runs a builder of it",
        ),
        "description": Field(projects.c.description, "as configured"),
        "description_format": Field(projects.c.description_format, "markdown or None"),
        "description_html": Field(projects.c.description_html, "the description as HTML, if it has a format"),
    },
    paths=(
        Path("projects"),
        Path("projects/n:projectid"),
        Path("projects/i:projectname", where=projects.c.name == bindparam("projectname")),
    ),
    events=("projects/{projectid}",),
    event_names=("update",),
    links={"builders": LinkTo("projects/{projectid}/builders")},
    order=("name",),
)
