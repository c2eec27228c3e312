"""Conversion of the state of schedulers, pollers and other objects.

Most values are kept unchanged, for the object of the same name and class. The position of a GitPoller and the feed
position of a scheduler have another form in Tenfold (`buildbot.changes.gitpoller`, `buildbot.schedulers.feed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from buildbot.importing import upstream
from buildbot.importing.report import missing
from buildbot.importing.source import Row
from buildbot.util import checks, jsontext
from buildbot.util.urls import without_password

#: class names and keys of Tenfold's states
_POLLER, _POSITION, _FEED = "GitPoller", "lastRev", "feed"
_HEADS = "refs/heads/"


class State(NamedTuple):
    """A state of an object; with ``key`` None only the object itself."""

    name: str
    class_name: str
    key: str | None
    value: Any


class Problem(NamedTuple):
    """A state that cannot be converted, with the reason; ``row`` is object id and key."""

    row: str
    reason: str


class Skipped(NamedTuple):
    """A state that is not imported on purpose, with the reason."""

    row: str
    reason: str


def states(objects: Sequence[Row], values: Sequence[Row]) -> Iterator[State | Problem | Skipped]:
    """The converted objects and states, without the feed positions of schedulers.

    Args:
        objects, values: all rows of ``objects`` and ``object_state``.
    """
    named: dict[Any, tuple[str, str]] = {}
    for number, name, class_name in objects:
        try:
            named[number] = checks.text(name, "name"), checks.text(class_name, "class_name")
        except (TypeError, ValueError) as error:
            yield Problem(f"{number}", str(error))
            continue
        yield State(*named[number], None, None)
    for number, key, value_json in values:
        row = f"{number} {key!r}"
        if number not in named:
            yield Problem(row, missing("objectid", number))
            continue
        name, class_name = named[number]
        if upstream.is_secret(class_name, key):
            yield Skipped(row, "the key with which the old master signs sessions")
            continue
        try:
            value = jsontext.loads(checks.text(value_json, "value_json"))
            jsontext.dumps(value)
            if upstream.is_git_poller(class_name, checks.text(key, "name")):
                yield State(without_password(name), _POLLER, _POSITION, git_position(value))
            else:
                yield State(name, class_name, key, value)
        except (TypeError, ValueError) as error:
            yield Problem(row, str(error))


def git_position(last: Any) -> dict[str, Any]:
    """The position of a GitPoller, from Buildbot's ``{branch: revision}``.

    With ``changeid`` 0 the poller checks once whether the commits that it finds next are changes already: the old
    master may have been killed after it added changes, and before it stored its position.

    Raises:
        ValueError: ``last`` is no dictionary of branches and revisions.
    """
    if not isinstance(last, dict) or not all(isinstance(revision, str) for revision in last.values()):
        raise ValueError("the position of a GitPoller must be a dictionary of branches and revisions")
    heads = {
        _quoted(branch if branch.startswith("refs/") else _HEADS + branch): revision
        for branch, revision in last.items()
    }
    return {"heads": heads, "gone": [], "changeid": 0, "adding": None}


def kinds_of_schedulers(objects: Sequence[Row], names: Iterable[Any]) -> dict[str, list[str]]:
    """The kinds of each scheduler that uses changes, by its name; several if it had another kind earlier."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for _, name, class_name in objects:
        kind = upstream.scheduler_kind(class_name) if isinstance(class_name, str) and name in found else None
        if kind is not None and kind not in found[name]:
            found[name].append(kind)
    return {name: kinds for name, kinds in found.items() if kinds}


def last_builds(found: Iterable[State | Problem | Skipped]) -> Mapping[tuple[str, str], float]:
    """The times of timed schedulers' last builds in Unix seconds, by name and kind."""
    return {
        (each.name, each.class_name.rpartition(".")[2]): float(each.value)
        for each in found
        if isinstance(each, State) and each.key == upstream.LAST_BUILD and isinstance(each.value, int | float)
    }


def feed(name: str, kind: str, clock: int, changeid: int, enabled: bool, last: float | None) -> State:
    """The feed position of a scheduler that has seen all changes up to ``changeid``.

    Args:
        name, kind: of the scheduler.
        clock: the database's clock at the end of the import.
        changeid: the last change that it has seen.
        enabled: whether the scheduler is enabled.
        last: the time of its last build in Unix seconds; None if its kind has none.
    """
    return State(name, kind, _FEED, {"clock": clock, "changeid": changeid, "enabled": enabled, "last": last})


def _quoted(ref: str) -> str:
    # GitPoller's form of refs, whose bytes may be in any encoding
    return quote(ref, safe="/!#$&'()+,;=@{}", errors="surrogateescape")
