"""Login by an account elsewhere, with a provider that checks its requests."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.web import resource, server

from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from tests.support.reactor import reactor
from tests.unit.www.test_login import Client, serving

CALLBACK = "http://localhost:1/auth/login"


class Provider(resource.Resource):
    """Gives codes, tokens and data of the user; refuses requests as the standards demand."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answers: dict[str, Any] = {}
        self.challenge = ""
        self.asked: list[str] = []

    def consent(self, location: str) -> str:
        """The user says yes on the provider's page; where the browser is sent back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert (asked["client_id"], asked["redirect_uri"]) == ("us", CALLBACK)
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        self.challenge = asked["code_challenge"]
        return "/auth/login?" + urlencode({"code": "the code", "state": asked["state"]})

    def render_POST(self, request: Any) -> bytes:
        """The token, for the code and PKCE's verifier."""
        form = {name.decode(): values[0].decode() for name, values in request.args.items()}
        verifier = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        basic = request.getHeader("authorization") == "Basic " + b64encode(b"us:hush").decode()
        known = basic or (form.get("client_id"), form.get("client_secret")) == ("us", "hush")
        right = known and verifier == self.challenge and (form["code"], form["redirect_uri"]) == ("the code", CALLBACK)
        request.setResponseCode(200 if right else 400)
        return json.dumps({"access_token": "the token", "token_type": "bearer"} if right else {"error": "no"}).encode()

    def render_GET(self, request: Any) -> bytes:
        """The user's data, for the token."""
        path = request.uri.decode()
        self.asked.append(path)
        if request.getHeader("authorization") != "Bearer the token" or path not in self.answers:
            request.setResponseCode(403)
            return b"{}"
        answer = self.answers[path]
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


@asynccontextmanager
async def providing() -> AsyncIterator[tuple[Provider, str]]:
    provider = Provider()
    port = reactor.listenTCP(0, server.Site(provider), interface="127.0.0.1")
    try:
        yield provider, f"http://127.0.0.1:{port.getHost().port}"
    finally:
        await maybeDeferred(port.stopListening)


async def begin(client: Client) -> str:
    """Go to the login; where the browser is sent."""
    status, headers, _ = await client.ask("GET", "/auth/login?redirect=/builders/1")
    assert status == 302
    return headers["location"]


GITLAB = {
    "/api/v4/user": {
        "username": "joe",
        "name": "Joe Doe",
        "email": "joe@example.org",
        "confirmed_at": "2020-01-01T00:00:00Z",
        "avatar_url": None,
    },
    "/api/v4/groups?min_access_level=10&per_page=100": [{"full_path": "acme/core", "path": "core"}],
}
GITHUB = {
    "/api/v3/user": {"login": "joe", "name": "Joe Doe"},
    "/api/v3/user/orgs?per_page=100": [{"login": "acme"}],
    "/api/v3/user/teams?per_page=100": [{"slug": "core", "organization": {"login": "acme"}}],
    "/api/v3/user/emails": [
        {"email": "boss@example.org", "verified": False, "primary": False},
        {"email": "joe@example.org", "verified": True, "primary": True},
    ],
}
GOOGLE = {"/userinfo": {"email": "joe@example.org", "email_verified": True, "name": "Joe Doe", "picture": None}}
BITBUCKET = {
    "/user": {"username": "joe", "display_name": "Joe Doe"},
    "/user/emails": {"values": [{"email": "joe@example.org", "is_primary": True, "is_confirmed": True}]},
    "/workspaces?role=member&pagelen=100": {"values": [{"slug": "acme"}]},
}

KEYCLOAK = {
    "/realms/ci/protocol/openid-connect/userinfo": {
        "preferred_username": "joe", "email": "joe@example.org", "email_verified": True, "name": "Joe Doe",
        "groups": ["acme"],
    },
}  # fmt: skip


def made(name: str, url: str) -> Any:
    """The auth of a provider, at ``url``."""
    if name == "GitLab":
        return util.GitLabAuth(url + "/", "us", "hush")
    if name == "Keycloak":
        return util.KeyCloakAuth(url, "ci", "us", "hush")
    if name == "GitHub":
        return util.GitHubAuth("us", "hush", serverURL=url, getTeamsMembership=True)
    auth = {"Google": util.GoogleAuth, "Bitbucket": util.BitbucketAuth}[name]("us", "hush")
    auth.authUri, auth.tokenUri, auth.resourceEndpoint = f"{url}/auth", f"{url}/token", url
    return auth


@pytest.mark.parametrize(
    ("name", "answers", "groups"),
    [
        ("GitLab", GITLAB, ["acme/core"]),
        ("GitHub", GITHUB, ["acme", "acme/core"]),
        ("Google", GOOGLE, None),
        ("Bitbucket", BITBUCKET, ["acme"]),
        ("Keycloak", KEYCLOAK, ["acme"]),
    ],
)
async def test_login(master: FakeMaster, name: str, answers: Any, groups: Any) -> None:
    """The browser goes to the provider and comes back logged in, to the page it left, with confirmed facts only."""
    async with providing() as (provider, url), serving(master, auth=made(name, url)) as client:
        provider.answers = answers
        config = json.loads((await client.ask("GET", "/config"))[2])["auth"]
        assert (config["name"], config["oauth2"], config["autologin"]) == (name, True, False)
        status, headers, _ = await client.ask("GET", provider.consent(await begin(client)))
        assert (status, headers["location"]) == (302, "http://localhost:1/#/builders/1")
        user = await client.user()
        assert (user["username"], user["email"], user["full_name"]) == ("joe", "joe@example.org", "Joe Doe")
        assert user.get("groups") == groups


async def test_a_users_own_provider(master: FakeMaster) -> None:
    """A subclass asks the provider in a thread, as it does in Buildbot."""

    class OurAuth(util.OAuth2Auth):  # type: ignore[misc, name-defined]
        name = "Ours"
        faIcon = "fa-x"

        def __init__(self, url: str, **kwargs: Any) -> None:
            super().__init__("us", "hush", **kwargs)
            self.authUri, self.tokenUri, self.resourceEndpoint = f"{url}/auth", f"{url}/token", url

        def getUserInfoFromOAuthClient(self, c: Any) -> Any:
            user = self.get(c, "/me")
            return {"username": user["id"], "groups": [each["name"] for each in self.get(c, "/my/teams")]}

    async with providing() as (provider, url), serving(master, auth=OurAuth(url)) as client:
        provider.answers = {"/me": {"id": "joe"}, "/my/teams": [{"name": "core"}]}
        assert await client.get(provider.consent(await begin(client))) == 302
        assert await client.user() == {"username": "joe", "groups": ["core"]}
        provider.answers = {}
        client.cookies = {}
        assert await client.get(provider.consent(await begin(client))) == 502


class Kept:
    """A secret of the master."""

    def __init__(self, name: str) -> None:
        self.name = name

    def getRenderingFor(self, props: Any) -> str:
        """It must not be called."""
        raise AssertionError(self.name)


async def test_secrets(master: FakeMaster) -> None:
    """The client's id and secret may be secrets, which the master is asked for when they are needed."""

    async def rendered(value: Kept) -> str:
        return {"id": "us", "secret": "hush"}[value.name]

    master.rendered = rendered  # type: ignore[attr-defined]
    async with providing() as (provider, url):
        auth = util.KeyCloakAuth(url, "ci", Kept("id"), Kept("secret"))
        async with serving(master, auth=auth) as client:
            provider.answers = KEYCLOAK
            assert await client.get(provider.consent(await begin(client))) == 302
            assert (await client.user())["username"] == "joe"


async def test_state(master: FakeMaster) -> None:
    """A code with another state, or in a browser that did not begin the login, logs in no user."""
    async with providing() as (provider, url), serving(master, auth=made("GitLab", url)) as client:
        provider.answers = GITLAB
        back = provider.consent(await begin(client))
        assert await client.get("/auth/login?code=x&state=made-up") == 400
        asked = dict(client.cookies)
        for cookies in ({}, {"tenfold_login": "x.y"}, {name: value[:-1] for name, value in asked.items()}):
            client.cookies = cookies
            assert await client.get(back) == 400
        assert provider.asked == []
        client.cookies = asked
        assert await client.get(back) == 302


async def test_stolen_code(master: FakeMaster) -> None:
    """The provider refuses a code of another user's login: its verifier is another one."""
    async with providing() as (provider, url), serving(master, auth=made("GitLab", url)) as client:
        provider.answers = GITLAB
        first = provider.consent(await begin(client))
        client.cookies = {}
        await begin(client)
        provider.challenge = "of another login"
        own = parse_qs(urlsplit(first).query)["state"][0]
        assert await client.get(f"/auth/login?code=the+code&state={own}") == 400
        assert await client.user() == {"anonymous": True}


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({}, 502),
        ({**GITLAB, "/api/v4/user": b"<html>"}, 502),
        ({**GITLAB, "/api/v4/user": []}, 502),
        ({**GITLAB, "/api/v4/user": {}}, 502),
        ({**GITLAB, "/api/v4/groups?min_access_level=10&per_page=100": {"message": "no"}}, 502),
    ],
)
async def test_provider_fails(master: FakeMaster, answers: Any, status: int) -> None:
    """A provider that does not answer as expected: no user is logged in, and the visitor gets an error."""
    async with providing() as (provider, url), serving(master, auth=made("GitLab", url)) as client:
        provider.answers = answers
        got, _, text = await client.ask("GET", provider.consent(await begin(client)))
        assert got == status and b"GitLab" in text and b"token" not in text
        assert await client.user() == {"anonymous": True}


async def test_refused(master: FakeMaster) -> None:
    """A user who refuses at the provider gets an error that says so."""
    async with providing() as (_, url), serving(master, auth=made("GitLab", url)) as client:
        state = parse_qs(urlsplit(await begin(client)).query)["state"][0]
        status, _, text = await client.ask("GET", f"/auth/login?error=access_denied&state={state}")
        assert (status, text) == (403, b"GitLab refused the login: access_denied")


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("GitLab", {**GITLAB, "/api/v4/user": {"username": "joe", "email": "boss@x.org", "confirmed_at": None}}),
        ("GitHub", {**GITHUB, "/api/v3/user/emails": [{"email": "boss@x.org", "verified": False, "primary": True}]}),
    ],
)
async def test_unconfirmed_addresses(master: FakeMaster, name: str, answers: Any) -> None:
    """An unconfirmed address gives no roles: it is not taken."""
    async with providing() as (provider, url), serving(master, auth=made(name, url)) as client:
        provider.answers = answers
        assert await client.get(provider.consent(await begin(client))) == 302
        assert (await client.user())["email"] is None
