"""The position of a git poller: the commits that it has seen, as one JSON value in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote


@dataclass
class Position:
    """The seen commits; for the fields see `buildbot.changes.gitpoller`."""

    heads: dict[str, str]
    gone: list[str]
    changeid: int
    adding: tuple[str, str] | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        """The position that `to_json` made a value of."""
        heads = {_from_json(ref): commit for ref, commit in value["heads"].items()}
        adding = value["adding"] and (_from_json(value["adding"][0]), value["adding"][1])
        return cls(heads, value["gone"], value["changeid"], adding)

    def to_json(self) -> dict[str, Any]:
        """The value to keep in the database."""
        heads = {_to_json(ref): commit for ref, commit in self.heads.items()}
        adding = self.adding and (_to_json(self.adding[0]), self.adding[1])
        return {"heads": heads, "gone": self.gone, "changeid": self.changeid, "adding": adding}


def _to_json(ref: str) -> str:
    """A ref as the database can keep it: its bytes may be in any encoding."""
    return quote(ref, safe="/!#$&'()+,;=@{}", errors="surrogateescape")


def _from_json(ref: str) -> str:
    return unquote(ref, errors="surrogateescape")
