"""What dialects have in common: payloads that may be anything, signatures, deliveries."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred

from buildbot.data.changes import storable
from buildbot.interfaces import holds_renderable
from buildbot.util.httpclient import HttpClient
from buildbot.www.http.messages import Request

T = TypeVar("T")


class RefusedDeliveryError(Exception):
    """A delivery that cannot be taken; the message is the answer to its sender."""


class Data(Protocol):
    """The part of the Data API that hooks need."""

    update: Any

    def get(self, options: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        """Data."""

    def control(self, action: str, args: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        """Do something to what a path names."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a request brought.

    Attributes:
        changes: arguments of ``addChange``, oldest first, by the *line* that they belong to: a branch, tag or pull
            request of a repository. A line without changes counts too: its branch was deleted, for example.
        identity: names the delivery. A line adds nothing if the last delivery that had to do with it has the same
            name; once something else has happened to the line, the same delivery is news again. None: each counts.
    """

    changes: Mapping[str, list[dict[str, object]]] = field(default_factory=dict)
    identity: str | None = None


class Dialect:
    """How one kind of sender speaks.

    Args:
        data: the Data API.
        options: of ``change_hook_dialects``, checked.
        http: for questions to the sender.
        master: the master, for options that are renderables, and for handlers of users; None where there is none.
    """

    #: whether a GET, which any link or picture of a page can make, is enough
    takes_get = False

    def __init__(self, data: Data, options: Mapping[str, Any], http: HttpClient, master: Any = None) -> None:
        self.data = data
        self.options = options
        self.http = http
        self.master = master

    async def option(self, name: str, **properties: Any) -> Any:
        """An option that may be a secret or another renderable, rendered with some properties."""
        value = self.options.get(name)
        return await self.master.rendered(value, properties) if holds_renderable(value) else value

    async def receive(self, request: Request) -> Delivery:
        """What a request brings.

        Raises:
            RefusedDeliveryError: it is not from whom it should be, or not what it should be.
        """
        raise NotImplementedError

    def codebase(self, payload: object) -> dict[str, object]:
        """The change's codebase, if the options name one."""
        given = self.options.get("codebase")
        name = given(payload) if callable(given) else given
        return {} if name is None else {"codebase": name}


def delivered(dialect: str, request: Request, lines: Mapping[str, list[dict[str, object]]]) -> Delivery:
    """A signed delivery, named by the very bytes that were signed, and where they were sent.

    The ids in the senders' headers are no use: some senders give a repetition a new one. What of the changes cannot be
    stored is cut or replaced, as it is for pollers.
    """
    place = f"{dialect}?{request.query}#"
    stored = {place + line: [storable(change) for change in changes] for line, changes in lines.items()}
    return Delivery(stored, place + sha256(request.body).hexdigest())


def require_signature(secret: str | None, given: str | None, body: bytes, algorithm: str = "sha256") -> None:
    """Refuse a body whose HMAC, in hexadecimal digits, is not ``given``. Nothing is required without a secret.

    Takes the same time wherever the two differ.
    """
    if secret is None:
        return
    if given is None:
        raise RefusedDeliveryError("Request has no required signature")
    expected = hmac.new(secret.encode(), body, algorithm).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.strip().lower().encode()):
        raise RefusedDeliveryError("Hash mismatch")


def parse(body: bytes | str) -> object:
    """The payload; RefusedDeliveryError if it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise RefusedDeliveryError(f"Error loading JSON: {problem}") from None


def at(payload: object, path: str, kind: type[T]) -> T:
    """What is at a dotted path of a payload.

    Raises:
        RefusedDeliveryError: nothing is, or something of another kind.
    """
    found = payload
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        what = "missing" if found is None else f"no {kind.__name__}"
        raise RefusedDeliveryError(f"malformed payload: {path} is {what}")
    return found


def maybe(payload: object, path: str, kind: type[T]) -> T | None:
    """As ``at``; None where nothing is there."""
    found = payload
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return None if found is None else at(payload, path, kind)


def names(payload: object, *paths: str) -> list[str]:
    """The texts of several lists, some of which may be missing."""
    found = []
    for path in paths:
        for each in maybe(payload, path, list) or []:
            if not isinstance(each, str):
                raise RefusedDeliveryError(f"malformed payload: {path} holds something else than text")
            found.append(each)
    return found


def login(payload: object, *paths: str) -> str:
    """The login of the first of these users of a forge who has one; ``unknown`` if nobody has."""
    return next((found for path in paths if (found := maybe(payload, f"{path}.login", str))), "unknown")


def moment(payload: object, path: str) -> int | None:
    """Unix seconds of the ISO 8601 time with a zone at a path; None where there is none, which is the present time."""
    text = maybe(payload, path, str)
    try:
        when = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if when is None or when.tzinfo is None else int(when.timestamp())


def branch_of(ref: str) -> tuple[str, str | None] | None:
    """Name of the branch or tag, and the category; None for other refs."""
    for prefix, category in (("refs/heads/", None), ("refs/tags/", "tag")):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix), category
    return None


def is_nothing(revision: str | None) -> bool:
    """Whether a revision stands for nothing: before a branch was made, or after it was deleted."""
    return not revision or not revision.strip("0")


def signed(name: str | None, mail: str | None) -> str:
    """``Name <mail>``, or what there is of it: machines have no address, some people no name."""
    return f"{name} <{mail}>" if name and mail else name or mail or ""


def person(payload: object, *paths: str, otherwise: str = "unknown") -> str:
    """Who is at the first of these paths where anybody is; ``otherwise`` if nobody is.

    Whoever wrote a commit is the least that a build of it needs, so that alone is no reason to refuse it.
    """
    for path in paths:
        name = maybe(payload, f"{path}.name", str) or maybe(payload, f"{path}.username", str)
        found = signed(name or maybe(payload, f"{path}.login", str), maybe(payload, f"{path}.email", str))
        if found:
            return found
    return otherwise


def pushed(payload: object, commit: object, branch: tuple[str, str | None]) -> dict[str, object]:
    """The change of a commit of a push, as GitHub and those say it who are like it."""
    return {
        "author": person(
            {"author": maybe(commit, "author", dict), "pusher": maybe(payload, "pusher", dict)}, "author", "pusher"
        ),
        "committer": None if maybe(commit, "committer", dict) is None else person(commit, "committer"),
        "comments": maybe(commit, "message", str) or "",
        "revision": at(commit, "id", str),
        "when_timestamp": moment(commit, "timestamp"),
        "branch": branch[0],
        "category": branch[1],
        "files": names(commit, "added", "modified", "removed"),
        "project": at(payload, "repository.full_name", str),
        "repository": at(payload, "repository.html_url", str),
        "revlink": maybe(commit, "url", str) or "",
    }


def heads(payload: object) -> list[dict[str, object]]:
    """The commit that a push without commits of its own leads to: a new branch, a tag, a branch that was moved.

    The list is empty if the push deleted what it names.
    """
    after = maybe(payload, "after", str)
    if is_nothing(after) or maybe(payload, "deleted", bool):
        return []
    return [maybe(payload, "head_commit", dict) or {"id": after}]


def form(request: Request) -> dict[str, list[str]]:
    """The fields of the query and of a form in the body."""
    fields: dict[str, list[str]] = {}
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    try:
        pairs = request.parameters()
        if content_type == "application/x-www-form-urlencoded":
            pairs += parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError as problem:
        raise RefusedDeliveryError(f"malformed form: {problem}") from None
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields
