"""Pictures of people: ``c['www']['avatar_methods']``.

The methods are asked in order until one has a picture. A person without one gets the default picture.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Any
from urllib.parse import quote, urlencode

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument
from buildbot.config.errors import error
from buildbot.data.interfaces import Master
from buildbot.util.deferreds import resolved
from buildbot.util.httpclient import HttpError, UnexpectedAnswerError
from buildbot.util.later import set_later
from buildbot.www.http.messages import Request, Response
from buildbot.www.rendering import rendered
from buildbot.www.resource import Redirect

_log = Logger()

#: the path of the default picture, below ``buildbotURL``
NOBODY = "img/nobody.svg"
NOBODY_PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" fill="#ccc"/>'
    b'<circle cx="16" cy="12" r="6" fill="#888"/><path d="M4 32a12 12 0 0 1 24 0z" fill="#888"/></svg>'
)
_DEFAULT_PIXELS = 32
_MOST_PIXELS = 1024
_PICTURE = re.compile(r"image/[\w.+-]+")
#: an address, or a name, is no longer
_LONGEST = 320
_REMEMBERED_USERS = 10_000
_REMEMBERED_S = 3600.0


class AvatarBase(Declared):
    """Derive from it and override ``getUserAvatar``."""

    #: its name for pages
    name = "noavatar"
    #: the master, before it is asked
    master: Master = set_later()

    def getConfigDict(self) -> dict[str, Any]:
        """The description for pages: ``name``."""
        return {"name": self.name}

    def getUserAvatar(self, email: bytes, username: bytes | None, size: int, defaultAvatarUrl: str) -> Any:
        """The picture of a person: its type and its bytes, or None; may be a coroutine or a Deferred.

        Args:
            email: the person's address, empty if it is not known.
            username: the person's name, if it is known.
            size: width and height in pixels.
            defaultAvatarUrl: the default picture.

        Raises:
            Redirect: the picture is elsewhere.
        """
        raise NotImplementedError


class AvatarGravatar(AvatarBase):
    """Pictures from gravatar.com, by e-mail address."""

    name = "gravatar"
    positional = ("default",)
    default = argument("retro", checks.name, doc="the picture of people whom it does not know")

    def getUserAvatar(self, email: bytes, username: bytes | None, size: int, defaultAvatarUrl: str) -> Any:
        """As ``AvatarBase.getUserAvatar``."""
        digest = md5(email.strip().lower(), usedforsecurity=False).hexdigest()
        raise Redirect(f"//www.gravatar.com/avatar/{digest}?{urlencode({'d': self.default, 's': size})}")


class AvatarGitHub(AvatarBase):
    """Pictures from GitHub, by user name, or by e-mail address of a profile or of a commit.

    GitHub answers few requests without a token, or an application's id and secret. Answers are remembered for an hour.
    """

    name = "github"
    positional = ("github_api_endpoint", "token", "client_id", "client_secret", "debug", "verify")
    github_api_endpoint = argument(
        None, checks.optional(checks.url), doc="of a GitHub Enterprise server; None: `https://api.github.com`"
    )
    token = argument(None, checks.optional(checks.name), renderable=True, doc="a token of GitHub")
    client_id = argument(None, checks.optional(checks.name), renderable=True, doc="the id of an OAuth application")
    client_secret = argument(None, checks.optional(checks.name), renderable=True, doc="its secret")
    debug = argument(False, checks.boolean, doc="whether each request and its answer are logged")
    verify = argument(True, checks.boolean, doc="whether the server's certificate is checked")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (self.client_id is None) != (self.client_secret is None):
            error("AvatarGitHub: client_id and client_secret must be given together")
        if self.token is not None and self.client_id is not None:
            error("AvatarGitHub: give a token or client_id and client_secret, not both")
        self.__known: OrderedDict[tuple[str, str], tuple[float, str | None]] = OrderedDict()

    async def getUserAvatar(self, email: bytes, username: bytes | None, size: int, defaultAvatarUrl: str) -> Any:
        """As ``AvatarBase.getUserAvatar``."""
        address, user = email.decode(errors="replace"), (username or b"").decode(errors="replace")
        found = await self.__find(user, address)
        if found is None:
            return None
        raise Redirect(f"{found}{'&' if '?' in found else '?'}{urlencode({'s': size})}")

    async def __find(self, user: str, address: str) -> str | None:
        now = self.master.reactor.seconds()
        known = self.__known.get((user, address))
        if known is None or known[0] < now:
            known = self.__known[user, address] = (now + _REMEMBERED_S, await self.__ask(user, address))
            self.__known.move_to_end((user, address))
            if len(self.__known) > _REMEMBERED_USERS:
                self.__known.popitem(last=False)
        return known[1]

    async def __ask(self, user: str, address: str) -> str | None:
        found: Mapping[str, Any] = {}
        if user:
            found = await self.__get(f"/users/{quote(user, safe='')}")
        if not found.get("avatar_url") and address:
            found = _first(await self.__get("/search/users", q=f"{address} in:email"))
        if not found.get("avatar_url") and address:
            query = {"q": f"author-email:{address}", "sort": "committer-date", "per_page": "1"}
            found = _first(await self.__get("/search/commits", **query)).get("author") or {}
        url = found.get("avatar_url")
        return url if isinstance(url, str) and url.startswith(("https://", "http://")) else None

    async def __get(self, path: str, **params: str) -> Mapping[str, Any]:
        """The object at a path; empty if there is none."""
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "Buildbot"}
        token, name, secret = [
            await rendered(self.master, each) for each in (self.token, self.client_id, self.client_secret)
        ]
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = await self.master.httpservice.request(
            "GET",
            (self.github_api_endpoint or "https://api.github.com").rstrip("/") + path,
            params=params or None,
            headers=headers,
            auth=None if name is None or secret is None else (name, secret),
            verify=self.verify,
        )
        if self.debug:
            _log.info("avatar: {where} answers {status}", where=answer.where, status=answer.status)
        if answer.status in (404, 422):  # no user of this name, or a text that GitHub cannot search for
            return {}
        found = answer.require(200).json()
        if not isinstance(found, Mapping):
            raise UnexpectedAnswerError(f"{answer.where} gave no object", answer.status)
        return found


def _first(found: Mapping[str, Any]) -> Mapping[str, Any]:
    items = found.get("items")
    return items[0] if isinstance(items, list) and items and isinstance(items[0], Mapping) else {}


class Avatars:
    """Answers ``/avatar``.

    Args:
        methods: asked in this order.
        home: ``buildbotURL``.
        master: the master, for the methods.
    """

    def __init__(self, methods: Sequence[AvatarBase], home: str, master: Master) -> None:
        self._methods = methods
        self._nobody = home + NOBODY
        for method in methods:
            method.master = master

    async def handle(self, request: Request) -> Response:
        """The picture of the person in the request, or a redirect to it."""
        given = dict(request.parameters())
        # The existing page writes "&amp;" between names.
        email = _bounded(given.get("email", given.get("amp;email", ""))).encode()
        username = _bounded(given["username"]) if "username" in given else None
        size = given.get("size", "")
        pixels = min(int(size), _MOST_PIXELS) if size.isascii() and size.isdigit() and len(size) < 10 else 0
        for method in self._methods:
            try:
                found = await resolved(
                    method.getUserAvatar(
                        email, None if username is None else username.encode(), pixels or _DEFAULT_PIXELS, self._nobody
                    )
                )
            except Redirect as where:
                return Response.redirect(where.url, ("Cache-Control", "max-age=3600"))
            except HttpError as problem:
                _log.error("avatar by {name}: {problem}", name=method.name, problem=problem)
                continue
            except Exception:
                _log.failure("avatar by {name} failed", name=method.name)
                continue
            picture = _picture(found)
            if picture is not None:
                return picture
            if found is not None:
                _log.error("avatar by {name}: it must give the type and the bytes of a picture", name=method.name)
        return nobody()


def nobody() -> Response:
    """The default picture."""
    return Response(200, (("Content-Type", "image/svg+xml"), ("Cache-Control", "max-age=86400")), NOBODY_PICTURE)


def _picture(found: object) -> Response | None:
    """The response with a picture; None if the bytes are none."""
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    kind, content = found
    kind = kind.decode(errors="replace") if isinstance(kind, bytes) else kind
    if not isinstance(kind, str) or not isinstance(content, bytes) or not _PICTURE.fullmatch(kind):
        return None
    # A picture may be a document with scripts in it.
    headers = (
        ("Content-Type", kind),
        ("Cache-Control", "max-age=3600"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    )
    return Response(200, headers, content)


def _bounded(text: str) -> str:
    """The address or name, or "" if it is too long to be real: answers to long ones would fill the cache."""
    return text if len(text) <= _LONGEST else ""
