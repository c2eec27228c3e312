"""Pictures of people."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred, succeed
from twisted.logger import capturedLogs
from twisted.web import resource, server

from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.avatar import AvatarBase
from buildbot.www.resource import Redirect
from tests.support.reactor import reactor
from tests.unit.www.test_login import serving

JOE, NOBODY = (md5(email).hexdigest() for email in (b"joe@example.org", b""))
GRAVATAR = "//www.gravatar.com/avatar"


@pytest.mark.parametrize(
    ("methods", "path", "location"),
    [
        ({}, "/avatar?email=Joe@example.org&size=48", f"{JOE}?d=retro&s=48"),
        ({}, "/avatar?username=joe&amp;email=joe@example.org", f"{JOE}?d=retro&s=32"),
        ({}, "/avatar?size=many", f"{NOBODY}?d=retro&s=32"),
        ({"avatar_methods": [util.AvatarGravatar(default="mp")]}, "/avatar", f"{NOBODY}?d=mp&s=32"),
    ],
)
async def test_gravatar(master: FakeMaster, methods: Any, path: str, location: str) -> None:
    """Pictures come from where the configuration says."""
    async with serving(master, **methods) as client:
        status, headers, _ = await client.ask("GET", path)
        assert (status, headers["location"]) == (302, f"{GRAVATAR}/{location}")


async def test_no_avatars(master: FakeMaster) -> None:
    """With no source of pictures no other server is asked."""
    async with serving(master, avatar_methods=[]) as client:
        status, headers, body = await client.ask("GET", "/avatar?email=joe@example.org")
        assert (status, headers["content-type"]) == (200, "image/svg+xml")
        assert await client.ask("GET", "/img/nobody.svg") == (status, headers, body)


class Mine(AvatarBase):
    """A source of pictures that gives its arguments."""

    name = "mine"

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Any] = []

    def getUserAvatar(self, *args: Any) -> Any:
        """As ``AvatarBase.getUserAvatar``."""
        self.asked.append(args)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_users_own_methods(master: FakeMaster) -> None:
    """Each is asked in turn, with names as bytes, until one answers; one that fails is passed over."""
    here, there = Mine(succeed((b"image/png", b"PNG"))), Mine(Redirect(b"https://x.org/a\r\nb"))
    async with serving(master, avatar_methods=[Mine(None), Mine(ValueError("no")), here]) as client:
        with capturedLogs() as logs:
            status, headers, body = await client.ask("GET", "/avatar?email=joe@x.org&username=joe&size=20")
        assert (status, headers["content-type"], body) == (200, "image/png", b"PNG")
        assert here.asked == [(b"joe@x.org", b"joe", 20, "http://localhost:1/img/nobody.svg")]
        asked: object = here.master
        assert asked is master
        assert any("avatar by {name} failed" in str(event["log_format"]) for event in logs)
        config = json.loads((await client.ask("GET", "/config"))[2])
        assert config["avatar_methods"] == [{"name": "mine"}] * 3
    async with serving(master, avatar_methods=[Mine(("text/html", b"<script>")), there]) as client:
        status, headers, _ = await client.ask("GET", "/avatar")
        assert (status, headers["location"]) == (302, "https://x.org/ab")
        assert there.asked == [(b"", None, 32, "http://localhost:1/img/nobody.svg")]
        await client.ask("GET", f"/avatar?email={'x' * 400}&username={'y' * 400}")
        assert there.asked[1:] == [(b"", b"", 32, "http://localhost:1/img/nobody.svg")]  # no user has this name


class GitHub(resource.Resource):
    """Finds users by name, profile and commit; answers requests with a token only."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked: list[str] = []

    def render_GET(self, request: Any) -> bytes:
        """As GitHub does."""
        self.asked.append(request.uri.decode())
        assert request.getHeader("authorization") == "Bearer t"
        user = {"avatar_url": "https://pictures/u?v=4"}
        query = request.args.get(b"q", [b""])[0]
        found: Any = {"items": []}
        if request.path == b"/users/joe":
            found = user
        elif request.path == b"/search/users" and query == b"ann@x.org in:email":
            found = {"items": [user]}
        elif request.path == b"/search/commits" and query == b"author-email:bob@x.org":
            found = {"items": [{"author": user}]}
        elif request.path == b"/search/commits" and query == b"author-email:no@x.org":
            request.setResponseCode(500)
        elif request.path.startswith(b"/users"):
            request.setResponseCode(404)
        return json.dumps(found).encode()


@asynccontextmanager
async def github() -> AsyncIterator[tuple[GitHub, str]]:
    site = GitHub()
    port = reactor.listenTCP(0, server.Site(site), interface="127.0.0.1")
    try:
        yield site, f"http://127.0.0.1:{port.getHost().port}"
    finally:
        await maybeDeferred(port.stopListening)


async def test_github(master: FakeMaster) -> None:
    """GitHub is asked by name, then by the address of a profile, then by that of a commit, and once for each."""
    async with github() as (site, url):
        methods = [util.AvatarGitHub(github_api_endpoint=url, token="t"), util.AvatarGravatar()]
        async with serving(master, avatar_methods=methods) as client:
            for who, requests in (("username=joe", 1), ("username=xy&email=ann@x.org", 2), ("email=bob@x.org", 2)):
                for _ in range(2):
                    status, headers, _ = await client.ask("GET", f"/avatar?{who}&size=16")
                    assert (status, headers["location"]) == (302, "https://pictures/u?v=4&s=16")
                assert len(site.asked) == requests
                site.asked.clear()
            for unknown in ("email=nobody@x.org", "email=no@x.org", "username=no/../joe"):
                status, headers, _ = await client.ask("GET", f"/avatar?{unknown}")
                assert headers["location"].startswith(GRAVATAR)


def test_mistakes(tmp_path: Path) -> None:
    """An object that is no source of pictures is a mistake of the configuration, with its place."""
    for value, place in ((util.AvatarGravatar, ""), ([util.AvatarGravatar(), "gravatar"], "element 2 ")):
        with pytest.raises(ConfigErrors) as caught:
            MasterConfig.from_values({"www": {"avatar_methods": value}}, tmp_path)
        assert f"['avatar_methods'] {place}must be a source of pictures such as util.AvatarGitHub()" in str(
            caught.value
        )
