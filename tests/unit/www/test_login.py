"""Login, sessions and authorization on real sockets."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import capturedLogs

from buildbot.config.errors import ConfigErrors
from buildbot.data.control import ACTIONS
from buildbot.plugins import schedulers, util
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util import clock, guessing
from buildbot.util.passwords import encrypt
from buildbot.www import htpasswd
from buildbot.www.auth import CustomAuth
from buildbot.www.authz.access import AccessRequest
from buildbot.www.errors import RefusedError
from buildbot.www.sessions import Visitor
from buildbot.www.site import WwwServer
from tests.unit.www.clients import WsClient, connecting, raw, turn, until
from tests.unit.www.farm import Farm
from tests.unit.www.test_site import parse, request

ORIGIN = "http://localhost:1"
USERS = {"joe": "pw", "ann": "pw2", "bob": "pw3"}


@asynccontextmanager
async def serving(master: FakeMaster, url: str = "http://localhost:1/", /, **www: Any) -> AsyncIterator[Client]:
    server = WwwServer(master, {"port": 0, **www}, url)
    await server.start()
    assert server.port is not None
    try:
        yield Client(server, server.port)
    finally:
        await server.stop()


class Client:
    """A browser of sorts: keeps the cookies that it is given."""

    def __init__(self, server: WwwServer, port: int) -> None:
        self.server = server
        self.port = port
        self.cookies: dict[str, str] = {}

    async def ask(
        self, method: str, path: str, body: bytes = b"", /, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        status, got, text = parse(await raw(self.port, request(method, path, body, **headers)))
        if "set-cookie" in got:
            name, _, value = got["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        return status, got, text

    async def get(self, path: str, **headers: str) -> int:
        return (await self.ask("GET", path, **headers))[0]

    async def login(self, name: str, password: str) -> int:
        credentials = b64encode(f"{name}:{password}".encode()).decode()
        return await self.get("/auth/login?redirect=/builders", Authorization=f"Basic {credentials}")

    async def user(self) -> Any:
        return json.loads((await self.ask("GET", "/config"))[2])["user"]

    async def call(self, path: str, method: str, **params: Any) -> tuple[int, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        status, _, text = await self.ask("POST", f"/api/v2/{path}", body, Content_Type="application/json")
        reply = json.loads(text)
        return status, reply["error"]["message"] if "error" in reply else reply["result"]

    async def socket(self) -> WsClient:
        """An open WebSocket, with the cookies; AssertionError if it is refused."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        client = await connecting(self.port, {"Cookie": cookies})
        which: Deferred[str] = Deferred()
        for name in ("opened", "closed"):
            getattr(client, name).addCallback(lambda _, name=name: None if which.called else which.callback(name))
        assert await which == "opened", "refused"
        return client


async def a_farm(master: FakeMaster) -> int:
    """Builders open and secret, a build of each with a log; gives the second's id."""
    farm = Farm(master)
    for name in ("open", "secret"):  # have the ids 1 and 2
        await master.data.update.findBuilderId(name)
    await farm.configure({"open": [], "secret": []}, ["w1"])
    for name, owner in (("open", "joe"), ("secret", "ann")):
        build = await farm.build(name, "w1", properties={"owner": (owner, "Force Build Form")})
        await master.data.update.setBuildProperties(build.buildid, {"owner": (owner, "Force Build Form")})
        await build.log(await build.step("compile"), "ohidden\n")
    return build.buildid


async def a_form(master: FakeMaster) -> int:
    """A force scheduler for both builders; its id."""
    await schedulers.ForceScheduler("force", ["open", "secret"]).run_in(master)
    return int(await master.data.update.findSchedulerId("force"))


async def test_login_and_logout(master: FakeMaster) -> None:
    """A right password begins a session, which the page shows; logout ends it on the server."""
    async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
        status, headers, _ = await client.ask("GET", "/auth/login")
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="buildbot", charset="UTF-8"')
        assert await client.login("joe", "no") == await client.login("nobody", "") == 401
        assert await client.user() == {"anonymous": True}
        assert await client.login("joe", "pw") == 302
        assert await client.user() == {"username": "joe", "email": "joe"}
        stolen = dict(client.cookies)
        assert await client.get("/auth/logout", Sec_Fetch_Site="cross-site") == 403
        status, headers, _ = await client.ask("GET", "/auth/logout?redirect=/workers")
        assert (status, headers["location"]) == (302, "http://localhost:1/#/workers")
        client.cookies = stolen
        assert await client.user() == {"anonymous": True}


class SlowAuth(CustomAuth):
    """Checks passwords when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.checking: list[tuple[str, Deferred[bool]]] = []

    def check_credentials(self, username: str, password: str) -> Deferred[bool]:
        verdict: Deferred[bool] = Deferred()
        self.checking.append((f"{username} {password}", verdict))
        return verdict


async def login_from(client: Client, address: str, name: str, password: str) -> int:
    """By a proxy on this machine."""
    credentials = b64encode(f"{name}:{password}".encode()).decode()
    return await client.get("/auth/login", Authorization=f"Basic {credentials}", X_Forwarded_For=address)


async def test_many_guesses_do_not_keep_others_out(master: FakeMaster) -> None:
    """An address that sends many passwords has few places in the queue; a right one from elsewhere is checked next."""
    auth = SlowAuth()
    async with serving(master, auth=auth) as client:
        guesses = [ensureDeferred(login_from(client, "192.0.2.1", "joe", f"g{number}")) for number in range(12)]
        refused: list[int] = []
        for guess in guesses:
            guess.addCallback(refused.append)
        await until(lambda: len(auth.checking) == 2 and len(refused) == 2)
        assert refused == [429, 429]
        right = ensureDeferred(login_from(client, "198.51.100.7", "joe", "pw"))
        asked = [""]
        while asked[-1] != "joe pw":
            # the forwarded one arrives some time; then it waits for no more than one of the others
            await turn()
            if len(auth.checking) > len(asked) - 1:
                name, verdict = auth.checking[len(asked) - 1]
                asked.append(name)
                if name != "joe pw":
                    verdict.callback(False)
        verdict.callback(True)
        assert await right == 302
        while len(refused) < 12:
            await turn()
            for _, verdict in auth.checking:
                if not verdict.called:
                    verdict.callback(False)


async def test_guessing_becomes_slow(master: FakeMaster, guessing_waits: list[float]) -> None:
    """After a few wrong passwords the next one of that address and name has to wait, and no other."""
    async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
        for _ in range(guessing.FREE_OF_PAIR + 1):
            assert await login_from(client, "192.0.2.1", "joe", "no") == 401
        assert not guessing_waits
        assert await login_from(client, "192.0.2.2", "joe", "pw") == 302
        assert not guessing_waits
        assert await login_from(client, "192.0.2.1", "joe", "pw") == 302
        assert len(guessing_waits) == 1


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        ("", "#/"),
        ("/builders/1", "#/builders/1"),
        ("//evil.example", "#//evil.example"),
        ("/a%0d%0aSet-Cookie:%20x=1", "#/a"),
        ("/%C3%A4%00b%20c", "#/b%20c"),
    ],
)
async def test_redirect(master: FakeMaster, redirect: str, location: str) -> None:
    """After a login one is on this server, wherever the request wanted to go."""
    async with serving(master, auth=util.NoAuth()) as client:
        _, headers, _ = await client.ask("GET", f"/auth/logout?redirect={redirect}")
        assert headers["location"] == f"http://localhost:1/{location}"


async def test_cookie(master: FakeMaster) -> None:
    """Scripts cannot read it, other sites' requests do not carry it, and with https it never travels without."""
    for url, flags in (("http://localhost:1/", ""), ("https://localhost:1/", "; Secure")):
        auth = util.UserPasswordAuth([("joe", "pw")])
        async with serving(master, url, auth=auth, cookie_expiration_time=timedelta(minutes=1)) as client:
            credentials = b64encode(b"joe:pw").decode()
            _, headers, _ = await client.ask("GET", "/auth/login", Authorization=f"Basic {credentials}")
            cookie, attributes = headers["set-cookie"].split("; ", 1)
            assert attributes == f"Path=/; Max-Age=60; HttpOnly; SameSite=Lax{flags}"
            assert cookie.startswith("__Host-" if flags else "tenfold_session")


async def test_made_up_cookies(master: FakeMaster) -> None:
    """Tokens that were invented, altered or have another session's signature are of no session."""
    async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
        await client.login("joe", "pw")
        name, value = next(iter(client.cookies.items()))
        token, _, signature = value.rpartition(".")
        altered = (f"{token}.", f"x{token}.{signature}", f"{token}.{signature[:-2]}ö", f".{signature}")
        for forged in ("", ".", "x", *altered):
            client.cookies = {name: forged}
            assert await client.user() == {"anonymous": True}
        client.cookies = {"other": "1", name: value}
        assert (await client.user())["username"] == "joe"


async def test_sessions_survive_and_are_shared(master: FakeMaster) -> None:
    """Another server of the installation, or the same after a restart, accepts the session until its end."""
    auth = util.UserPasswordAuth(USERS)
    async with serving(master, auth=auth) as one, serving(master, auth=auth) as two:
        await one.login("joe", "pw")
        two.cookies = one.cookies
        assert (await two.user())["username"] == "joe"
        await two.get("/auth/logout")
        one.cookies = {**one.cookies}
        assert await one.user() == {"anonymous": True}


async def test_sessions_of_another_configuration(master: FakeMaster) -> None:
    """A user removed from the configuration is logged out at once; a new way to log in begins with no sessions."""
    async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
        await client.login("joe", "pw")
        for auth in (util.UserPasswordAuth({"ann": "pw2"}), util.NoAuth(), util.UsersAuth(), util.RemoteUserAuth()):
            await client.server.reconfigure({"port": 0, "auth": auth}, "http://localhost:1/")
            assert await client.user() == {"anonymous": True}
        await client.server.reconfigure({"port": 0, "auth": util.UserPasswordAuth(USERS)}, "http://localhost:1/")
        assert (await client.user())["username"] == "joe"


async def test_expiry(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session ends by itself."""
    auth = util.UserPasswordAuth(USERS)
    async with serving(master, auth=auth, cookie_expiration_time=timedelta(seconds=100)) as client:
        await client.login("joe", "pw")
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now + 101)
        assert await client.user() == {"anonymous": True}


async def test_control_needs_a_login(master: FakeMaster) -> None:
    """With a login configured, anonymous visitors may read and not control; a control action has the name of the
    session's user.
    """
    await a_farm(master)
    told: list[Any] = []

    async def force(args: Any, entity: Any) -> Any:
        told.append(args["owner"])
        return [1, {"1": 1}]

    await a_form(master)
    master.data.control_handlers["forceschedulers", "force"] = force
    async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
        assert await client.get("/api/v2/builds/1") == 200
        refused = (403, "you need to be logged in")
        assert await client.call("builds/1", "stop") == refused
        assert await client.call("forceschedulers/force", "force", owner="joe") == refused
        assert await client.call("nowhere", "explode") == refused
        await client.login("joe", "pw")
        assert await client.call("forceschedulers/force", "force", owner="ann") == (200, [1, {"1": 1}])
        assert await client.call("builds/1", "stop") == (200, None)
    assert told == ["joe"]


@pytest.mark.parametrize(
    ("auth", "port", "allowed"),
    [
        (None, "tcp:0:interface=127.0.0.1", True),
        (None, "tcp:0", False),
        (util.NoAuth(), "tcp:0", True),
        (util.UserPasswordAuth(USERS), "tcp:0:interface=127.0.0.1", False),
    ],
)
async def test_anonymous(master: FakeMaster, auth: Any, port: str, allowed: bool) -> None:
    """Without a login only this machine may control, or all visitors if the configuration says so."""
    await a_farm(master)
    async with serving(master, auth=auth, port=port) as client:
        assert (await client.call("builds/1", "stop"))[0] == (200 if allowed else 403)
        config = json.loads((await client.ask("GET", "/config"))[2])
        assert config["user_may"]["builds/stop"] == {"all": allowed, "own": allowed}


async def test_other_sites_cannot_act(master: FakeMaster) -> None:
    """A session is of no use to pages of other origins: calls, sockets and streams are refused."""
    await a_farm(master)
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {}}).encode()
    async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
        await client.login("joe", "pw")
        evil = {"Origin": "https://evil.example"}
        assert (await client.ask("POST", "/api/v2/builds/1", call, Content_Type="application/json", **evil))[0] == 400
        assert (await client.ask("POST", "/api/v2/builds/1", call, Content_Type="text/plain"))[0] == 400
        for path in ("/sse/listen/builds/*/*", "/config", "/auth/logout"):
            assert await client.get(path, **evil) == 400
        handshake = {"Upgrade": "websocket", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "A" * 22 + "=="}
        lines = request("GET", "/ws", **handshake, **evil).replace(b"Connection: close", b"Connection: Upgrade")
        assert parse(await raw(client.port, lines))[0] == 403
        assert (await master.data.get({}, ("builds", 1)))["complete"] is False
        own = {"Origin": ORIGIN}
        assert (await client.ask("POST", "/api/v2/builds/1", call, Content_Type="application/json", **own))[0] == 200


READING = [
    "/api/v2/builds",
    "/api/v2/builds/2",
    "/api/v2/builders/secret/builds/1",
    "/api/v2/builders/2/builds",
    "/api/v2/builds/2/properties",
    "/api/v2/builds/2/steps/0/logs",
    "/api/v2/steps/2",
    "/api/v2/logs/2/contents",
    "/api/v2/logs/2/raw",
    "/api/v2/logs/2/raw_inline",
    "/api/v2/workers/1/builds",
    "/api/v2/builds/1/triggered_builds",
    "/api/v2/buildrequests/2/builds",
    "/api/v2/buildrequests?expand=builder",
    "/api/v2/buildrequests?e%78pand=builder",
    "/api/v2/b%75ilds/2",
    "/api/latest/builds/2",
    "/sse/listen/builds/*/*",
    "/sse/listen/builds%2F*%2F*",
    "/sse/listen/*/*/*",
    "/sse/builders/*/*/*/*",
    "/sse/listen/steps/2/*",
]


@pytest.mark.parametrize("path", READING)
async def test_nothing_around_rules(master: FakeMaster, path: str) -> None:
    """Builds that need a role cannot be read by another way in, with lists and streams that may hold them."""
    await a_farm(master)
    rules = util.Authz([util.ViewBuildsEndpointMatcher(builder="secret", role="insiders")], [ROLES])
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=rules) as client:
        assert await client.get(path) == 403
        await client.login("joe", "pw")
        assert await client.get(path) == 403
        for open_ in ("/api/v2/builds/1", "/api/v2/logs/1/raw", "/api/v2/builders/open/builds", "/api/v2/workers"):
            assert await client.get(open_) == 200
        await client.login("ann", "pw2")
        if not path.startswith("/sse"):
            assert await client.get(path) in (200, 400)


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({"branch": "hidden/*"}, {"/api/v2/builds/2", "/api/v2/builds/3"}),
        ({"branch": ""}, {"/api/v2/builds/4"}),
        ({"project": "proj", "branch": "main"}, {"/api/v2/builds/3"}),
        ({"project": "p*"}, {"/api/v2/builds/3", "/api/v2/builds/4"}),
        ({"builder": "open", "branch": "hidden/x"}, {"/api/v2/builds/2"}),
        ({"branch": "nowhere"}, set()),
    ],
)
async def test_builds_of_branches_and_projects(master: FakeMaster, rule: Any, refused: set[str]) -> None:
    """Rules allow reading builds by branch and project of each source stamp; a list may hold any build."""
    farm = Farm(master)
    assert await master.data.update.findBuilderId("open") == 1
    await farm.configure({"open": [], "secret": []}, ["w1"])
    stamps: list[tuple[str, list[tuple[str | None, str]]]] = [
        ("open", [("main", "")]),
        ("open", [("hidden/x", "")]),
        ("secret", [("hidden/x", ""), ("main", "proj")]),
        ("open", [(None, "proj2")]),
    ]
    for builder, codes in stamps:
        given = [{"codebase": str(n), "branch": b, "project": p} for n, (b, p) in enumerate(codes)]
        build = await farm.build(builder, "w1", sourcestamps=given)
        await build.log(await build.step("compile"), "ohidden\n")
    authz = util.Authz([util.ViewBuildsEndpointMatcher(**rule, role="insiders")], [ROLES])
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=authz) as client:
        single = [f"/api/v2/builds/{n}" for n in range(1, 5)]
        assert {path for path in single if await client.get(path) == 403} == refused
        assert {path for path in single if await client.get(path.replace("builds", "logs") + "/raw") == 403} == refused
        requests = [path.replace("builds", "buildrequests") + "/builds" for path in single]
        assert {path for path in requests if await client.get(path) == 403} == {
            path.replace("builds", "buildrequests") + "/builds" for path in refused
        }
        for mixed in ("/api/v2/builds", "/api/v2/builders/1/builds", "/api/v2/builds/1?expand=buildrequest"):
            assert await client.get(mixed) == 403
        await client.login("ann", "pw2")
        assert {await client.get(path) for path in (*single, *requests, "/api/v2/builds")} == {200}


async def test_only_some_are_shown(master: FakeMaster) -> None:
    """A user who may see one branch may not see a build of this and another branch."""
    farm = Farm(master)
    await farm.configure({"open": []}, ["w1"])
    for branches in (["main"], ["main", "hidden"]):
        await farm.build("open", "w1", sourcestamps=[{"codebase": b, "branch": b} for b in branches])
    rules = [
        util.ViewBuildsEndpointMatcher(branch="main", role="anyone"),
        util.ViewBuildsEndpointMatcher(role="insiders"),
    ]
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=util.Authz(rules, [ROLES])) as client:
        assert [await client.get(f"/api/v2/builds/{n}") for n in (1, 2)] == [200, 403]
        assert await client.get("/api/v2/builds") == 403


ROLES = util.RolesFromUsername(roles=["insiders"], usernames=["ann"])


async def test_nothing_without_role(master: FakeMaster) -> None:
    """Where everything needs a role, all that outsiders get is a page to log in on."""
    await a_farm(master)
    authz = util.Authz([util.AnyEndpointMatcher(role="insiders")], [ROLES])
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=authz) as client:
        for path in ("/api/v2/masters", "/api/v2", "/api/v2/nowhere", "/sse", "/metrics", "/whatever/else"):
            assert (path, await client.get(path)) == (path, 403)
        with pytest.raises(AssertionError, match="refused"):
            await client.socket()
        for path in ("/", "/config", "/icon.svg"):
            assert await client.get(path) == 200
        await client.login("ann", "pw2")
        assert await client.get("/api/v2/masters") == 200
        await client.socket()


async def test_refusals_of_other_origins(master: FakeMaster) -> None:
    """A page of an allowed origin can read why it is refused; of another one, the browser keeps it from that."""
    authz = util.Authz([util.AnyEndpointMatcher(role="insiders")], [ROLES])
    async with serving(master, authz=authz, allowed_origins=["https://dash.example"]) as client:
        for path in ("/api/v2/builds", "/api/latest", "/api/v2/nowhere"):
            status, headers, body = await client.ask("GET", path, Origin="https://dash.example")
            assert (status, headers["access-control-allow-origin"]) == (403, "https://dash.example")
            assert (headers["vary"], json.loads(body)) == ("Origin", {"error": "you need to have role 'insiders'"})
            status, headers, _ = await client.ask("GET", path, Origin="https://evil.example")
            assert (status, headers.get("access-control-allow-origin")) == (403, None)


async def test_subscriptions_are_asked_for(master: FakeMaster) -> None:
    """Each subscription of a socket meets the rules; logout ends sockets and streams of the session at once."""
    await a_farm(master)
    authz = util.Authz([util.ViewBuildsEndpointMatcher(role="insiders")], [ROLES])
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=authz) as client:
        anonymous = await client.socket()
        for path in ("builds/*/*", "*/*/*", "steps/1/*"):
            reply = await anonymous.ask(cmd="startConsuming", path=path, _id=1)
            assert (reply["code"], reply["error"]) == (403, "you need to have role 'insiders'")
        assert (await anonymous.ask(cmd="startConsuming", path="workers/*/*", _id=2))["code"] == 200
        await client.login("ann", "pw2")
        socket = await client.socket()
        assert (await socket.ask(cmd="startConsuming", path="builds/*/*", _id=1))["code"] == 200
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        stream = raw(client.port, request("GET", "/sse/listen/builds/*/*", Cookie=cookie))
        streaming = ensureDeferred(stream)
        await until(lambda: bool(client.server._app and client.server._app.streams._streams))
        await client.get("/auth/logout")
        await socket.closed
        assert b"handshake" in await streaming
        assert (await anonymous.ask(cmd="ping", _id=3))["code"] == 200


RULES = [
    util.StopBuildEndpointMatcher(builder="open", role="owner"),
    util.ForceBuildEndpointMatcher(builder="secret", role="insiders"),
    util.RebuildBuildEndpointMatcher(role="anyone"),
    util.EnableSchedulerEndpointMatcher(role="admins", defaultDeny=False),
    util.AnyControlEndpointMatcher(role="insiders"),
]


async def test_rules(master: FakeMaster) -> None:
    """The first rule that fits decides; one without defaultDeny passes on; owners have roles for their own builds."""
    secret = await a_farm(master)
    roles = [ROLES, util.RolesFromOwner(role="owner"), util.RolesFromGroups(groupPrefix="g-")]

    async def handler(args: Any, entity: Any) -> Any:
        return [1, {"1": 1}]

    master.data.control_handlers["forceschedulers", "force"] = handler
    schedulerid = await a_form(master)
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=util.Authz(RULES, roles)) as client:
        assert (await client.call("builds/1", "rebuild"))[0] == 200
        await client.login("joe", "pw")
        assert await client.call("builds/1", "stop") == (200, None)
        assert await client.call("builders/open/builds/1", "stop") == (200, None)
        assert await client.call(f"builds/{secret}", "stop") == (403, "you need to have role 'insiders'")
        force, no = "forceschedulers/force", (403, "you need to have role 'insiders'")
        assert await client.call(force, "force", builderid="2") == no
        assert await client.call(force, "force", builderid="1", builderNames=["secret"]) == no
        assert await client.call(force, "force", builderNames=["open", "secret"]) == no
        assert await client.call(force, "force") == no
        assert await client.call(f"schedulers/{schedulerid}", "enable", enabled=False) == no
        assert await client.call("workers/1", "stop") == no
        await client.login("ann", "pw2")
        assert await client.call("builds/1", "stop") == (403, "you need to have role 'owner'")
        assert await client.call(f"builds/{secret}", "stop") == (200, None)
        assert (await client.call(force, "force"))[0] == 200
        assert await client.call(f"schedulers/{schedulerid}", "enable", enabled=False) == (200, None)


AUTHZ = {
    "none": util.Authz(),
    "rules": util.Authz(RULES, [ROLES, util.RolesFromOwner(role="owner")]),
    "nothing": util.Authz([util.AnyEndpointMatcher(role="insiders")], [ROLES]),
    "of one builder": util.Authz([util.StopBuildEndpointMatcher(builder="sec*", role="insiders")], [ROLES]),
    "owners": util.Authz([util.AnyControlEndpointMatcher(role="owner")], [util.RolesFromOwner(role="owner")]),
}


@pytest.mark.parametrize("name", AUTHZ)
async def test_pages_know_what_is_allowed(master: FakeMaster, name: str) -> None:
    """The rights in ``/config`` are the server's decisions for each action, builder and user."""
    await a_farm(master)
    await a_form(master)
    authz = AUTHZ[name]
    owners = {1: "joe", 2: "ann"}
    for user in (None, "joe", "ann", "bob"):
        visitor = Visitor(None if user is None else {"username": user})
        rights = await authz.rights(visitor, master.data)
        assert set(rights) == {f"{action.plural}/{action.name}" for action in ACTIONS}
        for key, right in rights.items():
            noun, action = key.split("/")
            for builderid, owner in owners.items():
                # The ids of builds, requests and builders are the same here.
                path = (noun, "force" if noun == "forceschedulers" else str(builderid))
                own = noun in ("builds", "buildrequests") and owner == user
                may = right["own"] if own else right["all"]
                try:
                    await authz.check(visitor, AccessRequest(path, action, {"builderid": str(builderid)}), master.data)
                    allowed = True
                except RefusedError:
                    allowed = False
                assert allowed == (builderid in may if isinstance(may, list) else may), (user, key, builderid)


@pytest.mark.parametrize(
    ("matcher", "user", "roles"),
    [
        (util.RolesFromGroups("g-"), {"groups": ["g-a", "b"]}, ["a"]),
        (util.RolesFromGroups(), {}, []),
        (util.RolesFromEmails(admins=["j@x.org"], other=["a@x.org"]), {"email": "j@x.org"}, ["admins"]),
        (util.RolesFromEmails(admins=["j@x.org"]), {"email": None}, []),
        (util.RolesFromDomain(devs=["x.org"]), {"email": "j@x.org"}, ["devs"]),
        (util.RolesFromDomain(devs=["x.org"]), {"email": "x.org"}, []),
        (util.RolesFromDomain(devs=["x.org"]), {"email": "j@evil-x.org"}, []),
        (util.RolesFromUsername(["a", "b"], ["joe"]), {"username": "joe"}, ["a", "b"]),
        (util.RolesFromUsername(["a"], ["joe"]), {"username": "Joe"}, []),
        (util.RolesFromOwner("owner"), {"username": "joe"}, []),
    ],
)
def test_roles(matcher: Any, user: Any, roles: list[str]) -> None:
    """Each role matcher gives its roles."""
    assert list(matcher.getRolesFromUser(user)) == roles


@pytest.mark.parametrize(
    ("matcher", "pattern", "fits"),
    [
        (util.fnmatchStrMatcher, "lin*", True),
        (util.fnmatchStrMatcher, "lin", False),
        (util.reStrMatcher, "lin.", False),
        (util.reStrMatcher, "lin.*", True),
    ],
)
def test_strings(matcher: Any, pattern: str, fits: bool) -> None:
    """Patterns are about whole names."""
    assert matcher("linux", pattern) is fits


async def test_remote_user(master: FakeMaster) -> None:
    """A proxy's header names the user at every request; a request without it is anonymous, and there is no other
    login.
    """

    class Provider(util.UserInfoProviderBase):  # type: ignore[misc, name-defined]
        async def getUserInfo(self, username: str) -> Any:
            return {"email": f"{username}@example.org", "groups": ["insiders"]}

    await a_farm(master)
    auth = util.RemoteUserAuth(header=b"X-Remote-User", userInfoProvider=Provider())
    authz = util.Authz([util.AnyControlEndpointMatcher(role="insiders")], [util.RolesFromGroups()])
    async with serving(master, auth=auth, authz=authz) as client:
        assert await client.get("/auth/login") == 403
        for header in ("joe", "@x", "joe@x@y", "joe@x y"):
            assert await client.get("/api/v2/builds", X_Remote_User=header) == 200
            _, _, text = await client.ask("GET", "/config", X_Remote_User=header)
            assert json.loads(text)["user"] == {"anonymous": True}
        _, _, text = await client.ask("GET", "/config", X_Remote_User="joe@REALM")
        user = {"username": "joe", "realm": "REALM", "email": "joe@example.org", "groups": ["insiders"]}
        assert json.loads(text)["user"] == user
        assert (await client.call("builds/1", "stop"))[0] == 403


HASHES = [
    ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    ("$apr1$abcdefgh$oXMarVtAy7PqVBhr6pUwm/", "hello wörld 12345678901234567"),
    ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret"),
]


@pytest.mark.parametrize(("stored", "password"), HASHES)
async def test_htpasswd(master: FakeMaster, tmp_path: Path, stored: str, password: str) -> None:
    """The hashes that htpasswd makes; the file is read anew at each login."""
    path = tmp_path / "htpasswd"
    path.write_text(f"# users\nann:x\njoe:{stored}\n")
    assert htpasswd.matches(password, stored)
    async with serving(master, auth=util.HTPasswdAuth(str(path))) as client:
        assert await client.login("joe", password) == 302
        assert await client.login("joe", password + "x") == 401
        assert await client.login("ann", "x") == await client.login("# users", "") == 401
        path.write_text("")
        assert await client.login("joe", password) == 401
        path.unlink()
        assert await client.login("joe", password) == 401


async def test_users_of_the_database(master: FakeMaster) -> None:
    """Accounts that ``buildbot user`` keeps."""
    uid = await master.db.users.findUserByAttr("joe", "email", "joe@example.org")
    await master.db.users.updateUser(uid, bb_username="joe", bb_password=encrypt("pw"))
    async with serving(master, auth=util.UsersAuth()) as client:
        for name in ("joe", "nobody", "a\0"):
            assert await client.login(name, "no") == 401
        assert await client.login("joe", "pw") == 302


async def test_custom(master: FakeMaster) -> None:
    """A subclass checks passwords; only True lets a user in."""

    class Own(util.CustomAuth):  # type: ignore[misc, name-defined]
        def check_credentials(self, username: str, password: str) -> Any:
            return password == "pw" if username == "joe" else "maybe"

    async with serving(master, auth=Own()) as client:
        assert await client.login("joe", "pw") == 302
        assert await client.login("joe", "no") == await client.login("ann", "") == 401


async def test_reconfigured_rules_count_at_once(master: FakeMaster) -> None:
    """New rules about reading close open streams, so that each client is checked again."""
    auth = util.UserPasswordAuth(USERS)
    async with serving(master, auth=auth) as client:
        socket = await client.socket()
        authz = util.Authz([util.AnyEndpointMatcher(role="insiders")], [ROLES])
        await client.server.reconfigure({"port": 0, "auth": auth, "authz": authz}, "http://localhost:1/")
        await socket.closed
        assert await client.get("/api/v2/builds") == 403


async def test_passwords_stay_out_of_the_log(master: FakeMaster) -> None:
    """The log of a failed login has the name, not the password."""
    with capturedLogs() as events:
        async with serving(master, auth=util.UserPasswordAuth(USERS)) as client:
            await client.login("joe", "hunter2")
            await client.login("joe", "pw")
    text = "".join(map(str, events))
    assert "login from {address} failed" in text and "127.0.0.1" in text and "hunter2" not in text
    assert not any(value in text for value in client.cookies.values())


@pytest.mark.parametrize("name", ["builder", "branch", "project"])
def test_no_regular_expression(name: str) -> None:
    """A pattern that ``reStrMatcher`` cannot read is an error of the configuration."""
    rule = util.ViewBuildsEndpointMatcher(**{name: "(", "role": "insiders"})
    with pytest.raises(ConfigErrors, match=rf"{name} '\(' is no regular expression"):
        util.Authz([rule], stringsMatcher=util.reStrMatcher)
