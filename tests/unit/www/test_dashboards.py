"""Pages of people's own inside the page: real Flask applications, and others that misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import capturedLogs

from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www import wsgi
from tests.unit.www.clients import until
from tests.unit.www.farm import Farm
from tests.unit.www.test_login import ROLES, USERS, Client, serving

ORIGIN = "http://localhost:1"


def our_app(tmp_path: Path) -> flask.Flask:
    """An application as Buildbot's documentation shows one."""
    (tmp_path / "templates").mkdir()
    row = "<a href='#/builders/{{ build.builderid }}'>{{ build.number }} {{ build.owner }}</a>"
    (tmp_path / "templates" / "builds.html").write_text(f"{{% for build in builds %}}{row}{{% endfor %}}")
    app = flask.Flask("ours", root_path=str(tmp_path))

    @app.route("/index.html")
    def index() -> str:
        api = app.buildbot_api  # type: ignore[attr-defined]
        builds = api.dataGet("/builds", order="-buildid", limit=20)
        for build in builds:
            build["owner"] = api.dataGet(("builds", build["buildid"], "properties"))["owner"][0]
        return flask.render_template("builds.html", builds=builds)

    @app.route("/thread")
    def thread() -> dict[str, Any]:
        return {"main": threading.current_thread() is threading.main_thread(), "args": dict(flask.request.args)}

    @app.route("/where/<path:name>")
    def where(name: str) -> list[Any]:
        environ = flask.request.environ
        return [name, flask.url_for("index"), flask.request.url, flask.request.remote_user, environ["REMOTE_ADDR"]]

    @app.route("/form", methods=["POST"])
    def form() -> tuple[str, int, dict[str, str]]:
        return flask.request.form["text"], 201, {"X-Own": "yes", "Content-Type": "text/plain"}

    @app.route("/broken")
    def broken() -> str:
        raise ZeroDivisionError("on purpose")

    @app.route("/data/<path:path>")
    def data(path: str) -> list[Any]:
        api = app.buildbot_api  # type: ignore[attr-defined]
        complete = SimpleNamespace(field="complete", op="eq", values=[False])
        return [api.dataGet(path, filters=[complete], fields="number"), api.dataGet("builders/99")]

    return app


def dashboard(app: Any, name: str = "ours") -> dict[str, Any]:
    return {"name": name, "caption": "Ours", "app": app, "order": 5, "icon": "area-chart"}


@asynccontextmanager
async def showing(master: FakeMaster, app: Any, **www: Any) -> AsyncIterator[Client]:
    """A server with one dashboard; its client asks below that."""
    async with serving(master, plugins={"wsgi_dashboards": [dashboard(app)]}, **www) as client:
        yield client


PLACE = "/plugins/wsgi_dashboards/ours"


async def test_flask(master: FakeMaster, tmp_path: Path) -> None:
    """A Flask application asks for data, makes pages of templates, and runs in a thread."""
    farm = Farm(master)
    await farm.configure({"b": []}, ["w"])
    for owner in ("joe", "<ann>"):
        build = await farm.build("b", "w")
        await master.data.update.setBuildProperties(build.buildid, {"owner": (owner, "x")})
        if owner == "joe":
            await build.end()
    async with showing(master, our_app(tmp_path)) as client:
        status, headers, body = await client.ask("GET", f"{PLACE}/index.html")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert body == b"<a href='#/builders/1'>2 &lt;ann&gt;</a><a href='#/builders/1'>1 joe</a>"
        assert (await client.ask("GET", f"{PLACE}/thread?a=%20b"))[2] == b'{"args":{"a":" b"},"main":false}\n'
        assert (await client.ask("GET", f"{PLACE}/data/builders/b/builds"))[2] == b'[[{"number":2}],null]\n'
        assert await client.get(f"{PLACE}/none") == await client.get("/plugins/wsgi_dashboards/theirs/x") == 404
        status, headers, body = await client.ask("HEAD", f"{PLACE}/index.html")
        assert (status, body) == (200, b"")


async def test_addresses(master: FakeMaster, tmp_path: Path) -> None:
    """An application gets its address as browsers see it, the name of the user, and decoded paths."""
    plugins = {"wsgi_dashboards": [dashboard(our_app(tmp_path))]}
    auth = util.UserPasswordAuth(USERS)
    async with serving(master, "https://localhost/ci/", plugins=plugins, auth=auth) as client:
        await client.login("joe", "pw")
        _, _, body = await client.ask("GET", f"{PLACE}/where/a%20b/%C3%A4?x=1")
        path, index, url, *who = flask.json.loads(body)
        assert (path, who) == ("a b/ä", ["joe", "127.0.0.1"])
        assert index == "/ci/plugins/wsgi_dashboards/ours/index.html"
        assert re.fullmatch(r"https://[\w.:]+/ci/plugins/wsgi_dashboards/ours/where/a%20b/ä\?x=1", url)


async def test_forms(master: FakeMaster, tmp_path: Path) -> None:
    """A form is open to users who may control, on this server's own pages."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    async with showing(master, our_app(tmp_path), auth=util.UserPasswordAuth(USERS)) as client:
        assert (await client.ask("POST", f"{PLACE}/form", b"text=x", **form))[0] == 403
        await client.login("joe", "pw")
        status, headers, body = await client.ask("POST", f"{PLACE}/form", b"text=x%26", Origin=ORIGIN, **form)
        assert (status, headers["x-own"], body) == (201, "yes", b"x&")
        assert (await client.ask("POST", f"{PLACE}/form", b"text=x", Origin="https://evil", **form))[0] == 400
        assert (await client.ask("POST", "/plugins/wsgi_dashboards/scripts.js", b""))[0] == 404


async def test_rules(master: FakeMaster, tmp_path: Path) -> None:
    """A dashboard may show any build. If a rule restricts reading builds, it is open to users who may read all of
    them.
    """
    authz = util.Authz([util.ViewBuildsEndpointMatcher(builder="secret", role="insiders")], [ROLES])
    async with showing(master, our_app(tmp_path), auth=util.UserPasswordAuth(USERS), authz=authz) as client:
        assert await client.get(f"{PLACE}/index.html") == 403
        await client.login("ann", "pw2")
        assert await client.get(f"{PLACE}/index.html") == 200


def raising(environ: Any, start_response: Any) -> Any:
    """Fails at once."""
    raise ZeroDivisionError("secret")


def silent(environ: Any, start_response: Any) -> Any:
    """Begins no answer."""
    return [b"x"]


def splitting(environ: Any, start_response: Any) -> Any:
    """Has a header that would be two."""
    start_response("200 OK", [("X-A", "1\r\nSet-Cookie: x=1")])
    return [b"x"]


def breaking_off(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Fails in the middle of its answer."""
    start_response("200 OK", [])
    yield b"x"
    raise ZeroDivisionError("secret")


@pytest.mark.parametrize("app", [raising, silent, splitting, breaking_off])
async def test_failures(master: FakeMaster, app: Callable[..., Any]) -> None:
    """A failure is logged. The visitor gets an error without details; with ``debug`` it has the reason."""
    async with showing(master, app) as client:
        with capturedLogs() as logs:
            status, headers, body = await client.ask("GET", f"{PLACE}/index.html")
        assert (status, body) == (500, b"The dashboard ours failed. The log says more.")
        assert "set-cookie" not in headers
        assert any(event.get("log_format") == "dashboard {name} failed" for event in logs)
    async with showing(master, app, debug=True) as client:
        assert b"Traceback" in (await client.ask("GET", f"{PLACE}/index.html"))[2]


async def test_errors_of_the_application(master: FakeMaster) -> None:
    """Text on the application's stream of errors, such as Flask's reports of exceptions, is in the master's log."""

    def app(environ: Any, start_response: Any) -> Any:
        environ["wsgi.errors"].write("no such file\n")
        start_response("404 Not Found", [])
        return []

    async with showing(master, app) as client:
        with capturedLogs() as logs:
            assert await client.get(f"{PLACE}/broken") == 404
        assert any(event.get("text") == "no such file" for event in logs)


async def test_slow_ones_are_bounded(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few requests run at once, the others wait; one that does not end is answered for, and holds up nothing else."""
    gate, running = threading.Semaphore(0), []

    def slow(environ: Any, start_response: Any) -> Any:
        running.append(environ["PATH_INFO"])
        gate.acquire()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "999"), ("Connection", "close")])
        return [environ["PATH_INFO"].encode()]

    async with showing(master, slow) as client:
        asked = [ensureDeferred(client.ask("GET", f"{PLACE}/{number}")) for number in range(6)]
        await until(lambda: len(running) == 4)
        assert await client.get("/api/v2/builders") == 200
        for _ in range(6):
            gate.release()
        answers = await gatherResults(asked)
        assert sorted(body for _, _, body in answers) == [f"/{number}".encode() for number in range(6)]
        monkeypatch.setattr(wsgi, "PATIENCE_S", 0.01)
        status, _, body = await client.ask("GET", f"{PLACE}/late")
        assert (status, body.startswith(b"The dashboard ours has not answered")) == (504, True)
        gate.release()


@pytest.mark.parametrize(
    ("dashboards", "message"),
    [
        (
            [{"name": "a/b", "caption": "x", "app": raising}],
            "element 1 ['name'] must be letters, digits, '_' and '-' only",
        ),
        ([{"name": "a", "caption": "x"}], "element 1 needs 'app'"),
        (
            [{"name": "a", "caption": "x", "app": flask.Flask}],
            "element 1 ['app'] must be a WSGI application such as fla",
        ),
        (
            [{"name": "a", "caption": "x", "app": raising, "ordr": 1}],
            "element 1 ['ordr'] is unknown; did you mean 'orde",
        ),
        ([dashboard(raising), dashboard(silent)], " has two dashboards named 'ours'; names must be unique"),
        ({"a": 1}, " must be a list, not {'a': 1} (dict)"),
    ],
)
def test_mistakes(tmp_path: Path, dashboards: Any, message: str) -> None:
    """A wrong setting is a mistake of the configuration, with the dashboard's place and the allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        MasterConfig.from_values({"www": {"plugins": {"wsgi_dashboards": dashboards}}}, tmp_path)
    assert f"['wsgi_dashboards'] {message.strip()}" in str(caught.value)
