"""Takes deliveries, reads them with their dialect, and stores the changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from twisted.cred import error as cred
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildbot.config.hooks import plugin_dialects
from buildbot.data.interfaces import Master
from buildbot.util.guessing import Guesses, TooManyGuessesError
from buildbot.util.httpclient import HttpClient
from buildbot.www.auth import basic_credentials
from buildbot.www.hooks.dialect import Data, Dialect, RefusedDeliveryError
from buildbot.www.http.messages import Request, Response

_log = Logger()

#: how long a delivery waits for a master that starts (forges wait for ten seconds), and how often it looks
START_WAIT_S, START_LOOK_S = 8.0, 0.1

#: module and class; only those of the configured senders are imported
_DIALECTS: Mapping[str, tuple[str, str]] = {
    "base": ("base", "BaseDialect"),
    "bitbucket": ("oldforms", "BitbucketDialect"),
    "bitbucketcloud": ("bitbucketcloud", "BitbucketCloudDialect"),
    "bitbucketserver": ("bitbucketserver", "BitbucketServerDialect"),
    "gitea": ("gitea", "GiteaDialect"),
    "github": ("github", "GitHubDialect"),
    "gitlab": ("gitlab", "GitLabDialect"),
    "gitorious": ("oldforms", "GitoriousDialect"),
    "poller": ("poller", "PollerDialect"),
}


def _kind(name: str, options: Mapping[str, Any]) -> Callable[..., Dialect]:
    """The constructor of a dialect: one of this package, or one that calls the handler of a user or plugin."""
    custom = options.get("custom_class")
    if custom is None and name not in _DIALECTS:
        custom = plugin_dialects()[name].load()
    module, kind = _DIALECTS[name] if custom is None else ("handlers", "HandlerDialect")
    dialect: Callable[..., Dialect] = getattr(import_module(f"buildbot.www.hooks.{module}"), kind)
    return dialect if custom is None else partial(dialect, name, custom)


class ChangeHooks:
    """Answers GET and POST below ``/change_hook``.

    Args:
        data: the Data API.
        www: ``c['www']``, for ``change_hook_dialects`` and ``change_hook_auth``.
        reactor: limits the guessing of passwords.
        http: for requests to senders.
        allows_origin: whether pages of an origin may report changes from a browser.
        master: for handlers of users and plugins, and for secrets; None where there is none.
        is_starting: whether the master does not know yet what its configuration says of changes, or does not run its
            pollers. A delivery waits for that, as most senders do not send it again.
    """

    def __init__(
        self,
        data: Data,
        www: Mapping[str, Any],
        reactor: IReactorTime,
        http: HttpClient,
        allows_origin: Callable[[str], bool] = lambda _: False,
        master: Master | None = None,
        is_starting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._allows_origin = allows_origin
        self._is_starting = is_starting
        self._reactor = reactor
        self._data = data
        dialects: Mapping[str, Mapping[str, Any]] = www.get("change_hook_dialects") or {}
        self._dialects = {name: _kind(name, options)(data, options, http, master) for name, options in dialects.items()}
        self._checkers: list[ICredentialsChecker] = list(www.get("change_hook_auth") or ())
        self._guesses = Guesses(reactor)

    async def handle(self, request: Request, path: tuple[str, ...]) -> Response:
        """The reply to ``/change_hook/<path>``, errors included."""
        if request.method not in ("GET", "POST"):
            return Response.text(501, "only GET and POST are understood")
        if self._is_from_a_page(request):
            return Response.text(403, "not from another site's page")
        if self._checkers and not await self._authenticated(request):
            challenge = ("WWW-Authenticate", 'Basic realm="Protected area"')
            return Response.text(401, "Unauthorized").with_headers(challenge)
        if not await self._started():
            return Response.text(503, "this master is starting; try again").with_headers(("Retry-After", "5"))
        match = re.match(r"\w*", path[0] if path else "", re.ASCII)
        name = (match[0] if match else "") or "base"
        try:
            if name not in self._dialects:
                raise RefusedDeliveryError(f"The dialect specified, '{name[:100]}', wasn't whitelisted in change_hook")
            dialect = self._dialects[name]
            if request.method == "GET" and not dialect.takes_get:
                return Response.text(405, "send a POST").with_headers(("Allow", "POST"))
            delivery = await dialect.receive(request)
            if not delivery.changes:
                return Response.text(200, "no change found")
            try:
                added = await self._data.update.addDelivery(delivery.changes, delivery.identity)
            except (TypeError, ValueError) as problem:
                # Nothing was stored; the text names the wrong value.
                raise RefusedDeliveryError(str(problem)) from None
        except RefusedDeliveryError as problem:
            _log.info("change hook {name}: refused: {problem}", name=name[:100], problem=problem)
            return Response.text(400, str(problem))
        except Exception:
            _log.failure("change hook {name} failed", name=name)
            return Response.text(500, "Error processing changes.")
        return Response.text(200, f"{len(added)} change found" if added else "no change found")

    async def _started(self) -> bool:
        """Wait until the master has started, for as long as senders wait for an answer; False if it has not."""
        until = self._reactor.seconds() + START_WAIT_S
        while self._is_starting():
            if self._reactor.seconds() >= until:
                return False
            await deferLater(self._reactor, START_LOOK_S, lambda: None)
        return True

    def _is_from_a_page(self, request: Request) -> bool:
        """Whether a page in a browser sends it; services are no browsers.

        Browsers send the page's site only over https, but its origin with every POST.
        """
        if request.header("sec-fetch-site") in ("cross-site", "same-site"):
            return True
        origin = request.header("origin")
        return origin is not None and not self._allows_origin(origin)

    async def _authenticated(self, request: Request) -> bool:
        given = basic_credentials(request)
        if given is None:
            return False
        address, name = request.client, given[0][:200]
        try:
            await self._guesses.turn(address, name)
        except TooManyGuessesError:
            return False
        credentials = UsernamePassword(given[0].encode(), given[1].encode())
        for checker in self._checkers:
            try:
                await maybeDeferred(checker.requestAvatarId, credentials)
            except (cred.UnauthorizedLogin, cred.UnhandledCredentials):
                continue
            self._guesses.right(address, name)
            return True
        self._guesses.wrong(address, name)
        _log.info("change hook: wrong password or unknown name {name!r} from {address}", name=name, address=address)
        return False
