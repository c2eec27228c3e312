"""A change as users' functions see it (``fileIsImportant``, ``filter_fn``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildbot.process.properties import Properties


@dataclass(frozen=True)
class Change:
    """A change.

    Attributes:
        number: the changeid.
        who: the author, ``Name <mail>``.
        files: names of the files changed.
        when: Unix time in seconds.
    """

    number: int
    who: str = ""
    committer: str | None = None
    files: tuple[str, ...] = ()
    comments: str = ""
    revision: str | None = None
    branch: str | None = None
    category: str | None = None
    revlink: str | None = ""
    when: int = 0
    repository: str = ""
    project: str = ""
    codebase: str = ""
    properties: Properties = field(default_factory=Properties)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Change:
        """The change that the Data API describes with ``data``."""
        properties = Properties()
        for name, (value, source) in data["properties"].items():
            properties.setProperty(name, value, source)
        return cls(
            number=data["changeid"],
            who=data["author"],
            committer=data["committer"],
            files=tuple(data["files"]),
            comments=data["comments"],
            revision=data["revision"],
            branch=data["branch"],
            category=data["category"],
            revlink=data["revlink"],
            when=data["when_timestamp"],
            repository=data["repository"],
            project=data["project"],
            codebase=data["codebase"],
            properties=properties,
        )

    @property
    def author(self) -> str:
        """The same as ``who``."""
        return self.who

    @property
    def when_timestamp(self) -> int:
        """The same as ``when``."""
        return self.when
