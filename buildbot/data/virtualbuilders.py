"""Virtual builders: builders that properties of a buildset define.

A build with the property ``virtual_builder_name`` is shown under a builder of this name, with numbers and a history
of its own. The builder is made with its first build; no master runs it, and it has the tag ``_virtual_``. The request,
the worker, the locks and the steps belong to the real builder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from buildbot.data.base import Events
from buildbot.db.connector import DBConnector
from buildbot.resources.builders import BUILDER
from buildbot.util import checks

#: the tag of virtual builders, for pages
VIRTUAL = "_virtual_"


@dataclass(frozen=True)
class VirtualBuilder:
    """A virtual builder, as the properties of a buildset describe it.

    Attributes:
        name: its name.
        description: its description; None: the description of the real builder.
        project: the name of its project; None: the project of the real builder.
        tags: its tags, `VIRTUAL` among them.
    """

    name: str
    description: str | None
    project: str | None
    tags: tuple[str, ...]


def asked_for(properties: Mapping[str, Sequence[Any]]) -> VirtualBuilder | None:
    """The virtual builder that properties ask for; None if they ask for none.

    Args:
        properties: ``{name: (value, source)}``.

    Raises:
        ValueError: a property has an invalid value; the text names the property.
    """
    name, description, project, tags = (
        properties.get(f"virtual_builder_{word}", (None,))[0] for word in ("name", "description", "project", "tags")
    )
    if name is None:
        return None
    try:
        checks.text(name, "the property virtual_builder_name")
        checks.optional_text(description, "the property virtual_builder_description")
        if project is not None:
            checks.path_name(project, "the property virtual_builder_project")
        given = checks.texts([tags] if isinstance(tags, str) else tags or (), "the property virtual_builder_tags")
    except TypeError as problem:
        raise ValueError(str(problem)) from None
    if not name.strip():
        raise ValueError("the property virtual_builder_name must not be empty")
    return VirtualBuilder(name, description, project, tuple(dict.fromkeys((*given, VIRTUAL))))


def thd_builder_of_build(
    db: DBConnector, conn: Connection, events: Events, builderid: int, properties: Mapping[str, Sequence[Any]]
) -> int:
    """The id of the builder that a build is shown under.

    Args:
        builderid: the id of the real builder.
        properties: the properties of its buildset.

    Returns:
        The id of the virtual builder; ``builderid`` if there is none, or if a master runs a builder of its name.
    """
    try:
        asked = asked_for(properties)
    except ValueError:
        return builderid  # the build reports the error in its first step
    if asked is None:
        return builderid
    is_new = not db.builders.thdIsKnown(conn, asked.name)
    virtual = db.builders.thdFindBuilderId(conn, asked.name)
    if db.builders.thdIsRun(conn, virtual):
        return builderid
    own = db.builders.thdDescribed(conn, builderid)
    described: dict[str, Any] = {"projectid": own["projectid"], "tags": asked.tags}
    if asked.description is not None:
        described["description"] = asked.description
    else:
        described |= {name: own[name] for name in ("description", "description_format", "description_html")}
    if asked.project is not None:
        described["projectid"] = db.projects.thdFindProjectId(conn, asked.project)
    before = db.builders.thdDescribed(conn, virtual)["projectid"]
    if db.builders.thdDescribe(conn, virtual, described) and not is_new:
        events.announce(BUILDER, "update", virtual, asides={virtual: {"projectid": before}})
    return virtual
