"""The common code of pollers of pull requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from buildbot.changes.base import PollError
from buildbot.config import checks
from buildbot.util.deferreds import resolved
from buildbot.util.httpclient import HttpError

#: answers about one pull request that say nothing of the others: it is not there any more, or cannot be shown
_GONE = frozenset({404, 409, 410, 422})
#: the number of closed pull requests whose heads are remembered: one may be opened again
_MAX_CLOSED = 1000


def wanted(value: Any) -> Any:
    """Check the argument ``pullrequest_filter``."""
    if not isinstance(value, bool) and not callable(value):
        raise ValueError(f"must be True, False or a function of a pull request, not {checks.kind(value)}")
    return value


def kept(heads: Mapping[str, str], open_ones: Iterable[int]) -> dict[str, str]:
    """The heads to remember, by number: of all open pull requests, and of the last closed ones."""
    numbers = {str(each) for each in open_ones}
    closed = set(sorted((number for number in heads if number not in numbers), key=int)[-_MAX_CLOSED:])
    return {number: head for number, head in heads.items() if number in numbers or number in closed}


class Problems:
    """The errors of single pull requests, which do not keep others from being looked at."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._told: list[str] = []

    @contextmanager
    def of(self, number: object) -> Iterator[None]:
        """Keep the error of one pull request; an unreachable server is an error for the caller."""
        try:
            yield
        except HttpError as problem:
            if getattr(problem, "status", None) not in _GONE:
                raise
            self._told.append(f"pull request {number}: {problem}")
        except (LookupError, TypeError, ValueError) as problem:
            self._told.append(f"pull request {number}: {type(problem).__name__} {problem}")

    def tell(self) -> None:
        """Raise PollError if there were any."""
        if self._told:
            raise PollError(f"{self._server}'s answer is not what was expected: {'; '.join(self._told)}")


async def passes(wants: Any, pull: Mapping[str, Any]) -> bool:
    """The result of ``pullrequest_filter`` for a pull request. ValueError: it failed."""
    if isinstance(wants, bool):
        return wants
    try:
        return bool(await resolved(wants(pull)))
    except Exception as problem:
        raise ValueError(f"pullrequest_filter failed: {type(problem).__name__}: {problem}") from problem


def person(data: Mapping[str, Any] | None) -> str:
    """Who wrote a commit, as far as that is told: ``Name <mail>``, one of them, or ``unknown``."""
    name, mail = (data or {}).get("name"), (data or {}).get("email")
    return f"{name} <{mail}>" if name and mail else str(name or mail or "unknown")


def moment(text: Any) -> int | None:
    """Unix seconds of an ISO 8601 time with a zone; None if it is none."""
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return None if when.tzinfo is None else int(when.timestamp())


def chosen(name: str, pull: Mapping[str, Any], patterns: Collection[str]) -> dict[str, Any]:
    """What becomes properties of a change: the fields of a pull request, joined by dots behind ``name``, that a pattern
    names."""
    return {
        field: value for field, value in _flat(name, pull) if any(fnmatchcase(field, pattern) for pattern in patterns)
    }


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and what is in it, by names joined with dots; of dictionaries only what is in them."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}", each)
    else:
        yield name, value
