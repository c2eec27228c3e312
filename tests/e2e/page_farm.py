"""A server process for the tests of the page: the state layer, the HTTP server, and commands of the test.

The test writes a command per line to its standard input, ``["name", {arguments}]`` in JSON, and reads a line with
``{"result": …}`` or ``{"error": …}``. Builds are not run: the test says what they do.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import flask
from twisted.internet import stdio
from twisted.internet.defer import DeferredLock, ensureDeferred
from twisted.protocols.basic import LineReceiver

from buildbot.plugins import util
from buildbot.reporters.delivery import deliveries_of
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.schedulers.parameters import ChoiceStringParameter, StringParameter
from buildbot.test.fake.fakedb import make_master
from buildbot.util import clock
from buildbot.www.auth import UserPasswordAuth
from buildbot.www.authz.roles import RolesFromOwner
from buildbot.www.site import WwwServer
from tests.unit.www.farm import Build, Farm


class Commands:
    """The commands of a test; every method is one."""

    def __init__(self) -> None:
        self.master = make_master()
        self.farm = Farm(self.master)
        self.builds: dict[int, Build] = {}
        self.server: WwwServer | None = None
        self.stopped: list[dict[str, Any]] = []
        self.told: list[list[Any]] = []
        self.port = 0

    async def configure(self, builders: list[str], workers: list[str]) -> dict[str, Any]:
        await self.farm.configure({name: ["tag", name] for name in builders}, workers)
        force = ForceScheduler(
            "force",
            builders,
            buttonName="Force build",
            reason=StringParameter("reason", label="Reason", default="", required=True),
            properties=[ChoiceStringParameter("target", choices=["debug", "release"], default="debug")],
        )
        await force.run_in(self.master)  # type: ignore[arg-type]  # it has no directory
        self.forms = {force.name: force}

        async def handler(args: Any, entity: Any) -> Any:
            return await self.forms[entity["name"]].force(dict(args))

        self.master.data.control_handlers["forceschedulers", "force"] = handler
        await self.master.mq.startConsuming(
            lambda key, message: self.stopped.append({"build": int(key[2]), **message}),
            ("control", "builds", None, "stop"),
        )
        await self.master.mq.startConsuming(
            lambda key, message: self.told.append([key[3], int(key[2]), message.get("reason")]),
            ("control", "worker", None, None),
        )
        return self.farm.builders

    async def form(self) -> None:
        """A second form, which has parameters of every type."""
        fields = [
            util.StringParameter("text", label="Text", default="some text", regex="[a-z ]+$"),
            util.TextParameter("lines", label="Lines", default="one\ntwo", maxsize=20),
            util.IntParameter("number", label="Number", default=3),
            util.BooleanParameter("on", label="On", default=True),
            util.BooleanParameter("off", label="Off"),
            util.ChoiceStringParameter("one", label="One of", choices=["a", "b", "c"], default="b"),
            util.ChoiceStringParameter("free", label="Free", choices=["x", "y"], default="x", strict=False, maxsize=5),
            util.ChoiceStringParameter(
                "some", label="Some of", choices=["a", "b", "c"], default=["a", "b"], multiple=True
            ),
            util.ChoiceStringParameter("must", label="At least one", choices=["p", "q"], multiple=True, required=True),
            util.ChoiceStringParameter(
                "preset", label="Preset", choices=["-", "big"], default="-",
                autopopulate={"big": {"number": 99, "some": ["c"], "nest_inner": "filled in"}},
            ),
            util.FixedParameter("fixed", label="Fixed", default="always", hide=False),
            util.FixedParameter("hidden", default="unseen"),
            util.StringParameter("secretly", default="sent all the same", hide=True),
            util.FileParameter("file", label="File", maxsize=10),
            util.NestedParameter(
                "nest",
                label="Nested",
                fields=[
                    util.StringParameter("inner", label="Inner", default="in"),
                    util.NestedParameter("", fields=[util.IntParameter("deep", label="Deep", default=1)]),
                ],
            ),
            util.AnyPropertyParameter("any", label="Any property"),
        ]  # fmt: skip
        codebases = [
            util.CodebaseParameter(
                "lib",
                label="The library",
                branch=util.ChoiceStringParameter("branch", label="Branch", choices=["main", "next"], default="main"),
                repository="git://lib",
                project=None,
            ),
            util.CodebaseParameter("app", label="The app", patch=util.PatchParameter(label="A patch")),
        ]
        everything = ForceScheduler(
            "everything",
            list(self.farm.builders),
            buttonName="Everything",
            codebases=codebases,
            username=util.UserNameParameter(required=True),
            properties=fields,
        )
        await everything.run_in(self.master)  # type: ignore[arg-type]  # it has no directory
        self.forms[everything.name] = everything

    async def listen(
        self,
        users: dict[str, str] | None = None,
        rules: list[tuple[str, dict[str, Any]]] | None = None,
        dashboard: bool = False,
        **more: Any,
    ) -> int:
        """Begin to serve, on the same port as before.

        ``users`` may log in. Each of the ``rules`` is the name of a class and its arguments; the owner of a build or
        request has the role ``owner`` for it. With ``dashboard`` there is a page made by Flask. ``more`` is added to
        ``c['www']``.
        """
        www = {"port": self.port, "allowed_origins": ["http://127.0.0.1:*"], **more}
        if dashboard:
            described = {"name": "ours", "caption": "Our page", "app": a_dashboard(), "order": 1, "icon": "area-chart"}
            www["plugins"] = {**www.get("plugins", {}), "wsgi_dashboards": [described]}
        if rules is not None:
            allow = [getattr(util, name)(**given) for name, given in rules]
            www["authz"] = util.Authz(allow, [RolesFromOwner("owner")])
        if users is not None:
            www["auth"] = UserPasswordAuth(users)
        self.server = WwwServer(self.master, www, "http://127.0.0.1/", "Test CI")
        await self.server.start()
        self.port = self.server.port or 0
        # Pages compare this with where they are.
        await self.server.reconfigure(www, f"http://127.0.0.1:{self.port}/", "Test CI")
        return self.port

    async def go_away(self) -> None:
        """Stop serving and cut every socket."""
        assert self.server is not None
        await self.server.stop()

    async def forget_events(self) -> None:
        await self.master.data.update.trimEvents(0)

    async def past(self, seconds: int) -> None:
        """Set the clock back by a number of seconds, for the commands that follow."""
        vars(clock)["now"] = lambda: int(time.time()) - seconds

    async def build(self, builder: str, worker: str) -> int:
        return self._keep(await self.farm.build(builder, worker))

    async def build_change(self, builder: str, worker: str, changes: list[int] | None = None) -> int:
        """A build of these changes, which ``change`` has added."""
        build = await self.farm.start(await self.request_change(builder, changes=changes), worker)
        await self.master.data.update.setBuildProperties(build.buildid, {"got_revision": ("1" * 40, "Git")})
        return self._keep(build)

    async def request_change(self, builder: str, revision: str = "1" * 40, changes: list[int] | None = None) -> int:
        stamp: dict[str, Any] = {"branch": "main", "revision": revision}
        stamp.update(repository="", project="", codebase="", changeids=changes or [])
        return await self.farm.request(builder, sourcestamps=[stamp])

    async def project(self, name: str, builders: list[str], description: str | None = None) -> int:
        """Have these builders belong to a project."""
        update = self.master.data.update
        projectid: int = await update.find_project_id(name)
        await update.update_project_info(projectid, slug=name, description=description)
        no_text = {"description": None, "description_format": None}
        await update.setBuilders(
            [
                {"name": each, "tags": ["tag", each], "projectid": projectid if each in builders else None, **no_text}
                for each in self.farm.builders
            ]
        )
        return projectid

    async def start(self, brid: int, worker: str) -> int:
        return self._keep(await self.farm.start(brid, worker))

    async def request(self, builder: str, owner: str | None = None) -> int:
        """A request, with or without an owner."""
        return await self.farm.request(builder, properties={"owner": (owner, "Test")} if owner else {})

    async def state(self, build: int, text: str) -> None:
        await self.master.data.update.setBuildStateString(build, text)

    async def properties(self, build: int, **values: Any) -> None:
        named = {name: (value, "Test") for name, value in values.items()}
        await self.master.data.update.setBuildProperties(build, named)

    async def step(self, build: int, name: str) -> int:
        return await self.builds[build].step(name)

    async def trigger(self, build: int, brid: int) -> None:
        """Have the build's newest step say that it has triggered a request."""
        steps = await self.master.data.get({}, ("builds", build, "steps"))
        url = f"http://127.0.0.1:{self.port}/#/buildrequests/{brid}"
        await self.master.data.update.addStepURL(steps[-1]["stepid"], f"trigger #{brid}", url)

    async def log(self, step: int, text: str, kind: str = "s", name: str | None = None) -> int:
        name = name or ("stdio" if kind == "s" else "page")
        logid: int = await self.master.data.update.newLog(step, name, kind)
        await self.master.data.update.appendLog(logid, text)
        return logid

    async def end_log(self, log: int) -> None:
        await self.master.data.update.finishLog(log)

    async def append(self, log: int, text: str) -> None:
        await self.master.data.update.appendLog(log, text)

    async def end_step(self, build: int, step: int, results: int = 0) -> None:
        await self.builds[build].end_step(step, results)

    async def end(self, build: int, results: int = 0) -> None:
        await self.builds[build].end(results, "build successful" if results == 0 else "failed")

    async def change(self, comments: str, revision: str = "1" * 40, revlink: str = "") -> int:
        changeid: int = await self.master.data.update.addChange(
            author="Joe <joe@example.org>",
            comments=comments,
            files=["a.py"],
            revision=revision,
            revlink=revlink,
            branch="main",
        )
        return changeid

    async def disconnect(self, worker: str) -> None:
        await self.master.data.update.workerDisconnected(self.farm.workers[worker])

    async def told_workers(self) -> list[list[Any]]:
        """The control messages to workers: action, worker, reason."""
        return self.told

    async def pause(self, worker: str, reason: str) -> None:
        await self.master.data.update.setWorkerState(self.farm.workers[worker], paused=True, pause_reason=reason)

    async def quarantine(self, worker: str, seconds: int, reason: str) -> None:
        until = int(self.master.wall_seconds()) + seconds
        await self.master.data.update.set_worker_condition(self.farm.workers[worker], until, reason)

    async def get(self, path: list[Any]) -> Any:
        return await self.master.data.get({}, tuple(path))

    async def reports(self, name: str, sent: int, given_up: int) -> None:
        """Store the counters of a reporter."""
        found = deliveries_of(self.master)
        found.sent[name,], found.given_up[name,] = sent, given_up

    async def pending(self) -> list[int]:
        found = await self.master.data.get({"filters": {"complete": False, "claimed": False}}, ("buildrequests",))
        return [one["buildrequestid"] for one in found]

    async def stops(self) -> list[dict[str, Any]]:
        return self.stopped

    def _keep(self, build: Build) -> int:
        self.builds[build.buildid] = build
        return build.buildid


def a_dashboard() -> flask.Flask:
    """An application that lists builders, with a style and a script of its own."""
    app = flask.Flask("ours")
    page = """<!doctype html><title>x</title><style>.own { color: rgb(1, 2, 3) }</style>
        <script>document.title = "taken over"</script><ul class="own" style="margin-left: 7px">
        {% for each in builders %}<li><a href="#/builders/{{ each.builderid }}">{{ each.name }}</a></li>{% endfor %}
        </ul>"""

    @app.route("/index.html")
    def index() -> str:
        builders = app.buildbot_api.dataGet("/builders", order="name")  # type: ignore[attr-defined]
        return flask.render_template_string(page, builders=builders)

    return app


class Terminal(LineReceiver):
    """Reads commands, one after the other."""

    delimiter = os.linesep.encode()
    MAX_LENGTH = 10_000_000

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.commands = Commands()
        self.lock = DeferredLock()

    def lineReceived(self, line: bytes) -> None:
        self.lock.run(lambda: ensureDeferred(self._run(line)))

    def connectionLost(self, reason: Any = None) -> None:
        self.reactor.callWhenRunning(self.reactor.stop)

    async def _run(self, line: bytes) -> None:
        name, arguments = json.loads(line)
        try:
            answer: dict[str, Any] = {"result": await getattr(self.commands, name)(**arguments)}
        except Exception as error:
            answer = {"error": repr(error)}
        self.sendLine(json.dumps(answer, default=repr).encode())  # type: ignore[no-untyped-call]


def main() -> None:
    """The process."""
    from twisted.internet import reactor as installed  # in each process its own

    reactor: Any = installed
    stdio.StandardIO(Terminal(reactor))
    reactor.run()
