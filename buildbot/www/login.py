"""``/auth/login`` and ``/auth/logout``."""

from __future__ import annotations

import re

from buildbot.www.gate import Gate
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import Visitor

_UNSAFE = re.compile(r"[\r\n].*", re.DOTALL)


class Login:
    """Answers GET below ``/auth``.

    Args:
        gate: has the auth and the sessions.
        home: ``buildbotURL``.
    """

    def __init__(self, gate: Gate, home: str) -> None:
        self._gate = gate
        self._home = home

    async def handle(self, request: Request, path: tuple[str, ...], visitor: Visitor) -> Response:
        """The reply to ``/auth/<path>``."""
        if path == ("login",):
            return await self._login(request, visitor)
        if path == ("logout",):
            return await self._logout(request, visitor)
        return Response.text(404, "Not Found")

    async def _login(self, request: Request, visitor: Visitor) -> Response:
        outcome = await self._gate.auth.login(request, self._gate)
        if isinstance(outcome, Response):
            return outcome.with_headers(("Cache-Control", "no-store"))
        # This ends another user's session in this browser.
        await self._gate.sessions.end(visitor)
        return self._back(outcome.redirect, await self._gate.sessions.begin(outcome.user))

    async def _logout(self, request: Request, visitor: Visitor) -> Response:
        if request.header("sec-fetch-site") == "cross-site":
            return Response.text(403, "Log out on the page itself")
        redirect = dict(request.parameters()).get("redirect", "")
        return self._back(redirect, await self._gate.sessions.end(visitor))

    def _back(self, redirect: str, cookie: tuple[str, str]) -> Response:
        # Only the part after '#' comes from the request, so that it cannot lead to another site.
        where = f"{self._home}#{_UNSAFE.sub('', redirect) or '/'}"
        return Response.redirect(where, ("Cache-Control", "no-store"), cookie)
