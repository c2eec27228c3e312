"""The base of the dialects: reading of payloads, signatures, deliveries."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred

from buildbot.data.changes import storable
from buildbot.data.interfaces import Master
from buildbot.interfaces import holds_renderable
from buildbot.util.httpclient import HttpClient
from buildbot.www import jsonbody
from buildbot.www.http.messages import Request
from buildbot.www.rendering import renderer_of

T = TypeVar("T")


class RefusedDeliveryError(Exception):
    """A delivery is refused; the message is the answer to its sender."""


class Updates(Protocol):
    """The update method that hooks need."""

    def addDelivery(
        self, lines: Mapping[str, Sequence[Mapping[str, Any]]], delivery: str | None = None
    ) -> Deferred[list[int]]:
        """Add the changes of a delivery."""


class Data(Protocol):
    """The part of the Data API that hooks need."""

    @property
    def update(self) -> Updates:
        """The update methods."""

    def get(self, options: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        """Read resources."""

    def control(self, action: str, args: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        """Run an action of the resource at a path."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The changes of a request.

    Attributes:
        changes: arguments of ``addChange``, oldest first, by the *line* that they belong to: a branch, tag or pull
            request of a repository. A line may have no changes: its branch was deleted, for example.
        identity: the name of the delivery. A line adds no changes if its last delivery had the same name; after another
            delivery for the line, the same one counts again. None: each counts.
    """

    changes: Mapping[str, list[dict[str, object]]] = field(default_factory=dict)
    identity: str | None = None


class Dialect:
    """The deliveries of one kind of sender.

    Args:
        data: the Data API.
        options: of ``change_hook_dialects``, checked.
        http: for requests to the sender.
        master: the master, for options that are renderables, and for handlers of users; None where there is none.
    """

    #: whether it takes a GET, which any link or picture of a page can send
    takes_get = False

    def __init__(self, data: Data, options: Mapping[str, Any], http: HttpClient, master: Master | None = None) -> None:
        self.data = data
        self.options = options
        self.http = http
        self.master = master

    async def option(self, name: str, **properties: Any) -> Any:
        """An option that may be a secret or another renderable, rendered with some properties."""
        value = self.options.get(name)
        return await renderer_of(self.master).rendered(value, properties) if holds_renderable(value) else value

    async def receive(self, request: Request) -> Delivery:
        """The changes of a request.

        Raises:
            RefusedDeliveryError: the signature is wrong, or the payload is malformed.
        """
        raise NotImplementedError

    def codebase(self, payload: object) -> dict[str, object]:
        """The change's codebase, if the options name one."""
        given = self.options.get("codebase")
        name: object = given(payload) if callable(given) else given
        return {} if name is None else {"codebase": name}


def delivered(dialect: str, request: Request, lines: Mapping[str, list[dict[str, object]]]) -> Delivery:
    """A signed delivery, with a name made of the signed bytes and the path that they were sent to.

    The ids in the senders' headers do not serve: some senders give a repetition a new one. What of the changes cannot
    be stored is cut or replaced, as it is for pollers.
    """
    place = f"{dialect}?{request.query}#"
    stored = {place + line: [storable(change) for change in changes] for line, changes in lines.items()}
    return Delivery(stored, place + sha256(request.body).hexdigest())


def require_signature(secret: str | None, given: str | None, body: bytes, algorithm: str = "sha256") -> None:
    """Refuse a body whose HMAC, in hexadecimal digits, is not ``given``; without a secret nothing is required.

    The comparison takes constant time.
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
        found: object = jsonbody.parse(body.encode() if isinstance(body, str) else body)
        return found
    except (ValueError, RecursionError) as problem:
        raise RefusedDeliveryError(f"Error loading JSON: {problem}") from None


def at(payload: object, path: str, kind: type[T]) -> T:
    """The value at a dotted path of a payload.

    Raises:
        RefusedDeliveryError: there is no value, or one of another kind.
    """
    found = payload
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        what = "missing" if found is None else f"no {kind.__name__}"
        raise RefusedDeliveryError(f"malformed payload: {path} is {what}")
    return found


def maybe(payload: object, path: str, kind: type[T]) -> T | None:
    """As ``at``; None if there is no value."""
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
    """The login of the first of these users of a forge who has one; ``unknown`` if none has."""
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
    """Whether a revision is all zeros: of a branch that was not made yet, or was deleted."""
    return not revision or not revision.strip("0")


def signed(name: str | None, mail: str | None) -> str:
    """``Name <mail>``, or only one of them: machines have no address, some people no name."""
    return f"{name} <{mail}>" if name and mail else name or mail or ""


def person(payload: object, *paths: str, otherwise: str = "unknown") -> str:
    """The user at the first of these paths that has one; ``otherwise`` if none has.

    A change without an author can be built, so a missing author is no reason to refuse it.
    """
    for path in paths:
        name = maybe(payload, f"{path}.name", str) or maybe(payload, f"{path}.username", str)
        found = signed(name or maybe(payload, f"{path}.login", str), maybe(payload, f"{path}.email", str))
        if found:
            return found
    return otherwise


def pushed(payload: object, commit: object, branch: tuple[str, str | None]) -> dict[str, object]:
    """The change of a commit of a push, in the form that GitHub and similar senders have."""
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
    """The head of a push without commits: of a new branch, a tag, or a branch that was moved.

    The list is empty if the push deleted the branch or tag.
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
