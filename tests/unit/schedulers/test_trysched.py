"""Jobs of ``buildbot try``: as files, and over PB."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.spread import pb

import buildbot.scheduler
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import schedulers
from buildbot.schedulers.tryjob import MAX_JOB_BYTES, BadJobError, read_job
from buildbot.schedulers.trysched import Try_Jobdir, Try_Userpass
from buildbot.test.running import Running, until
from buildbot.test.schedulers import SchedulerHarness
from buildbot.util.results import SUCCESS
from tests.support.reactor import reactor

PATCH = "--- a\n+++ b\n"


def job(*parts: Any) -> bytes:
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"".join(b"%d:%s," % (len(part), part) for part in encoded)


def described(**values: Any) -> bytes:
    told = {"jobid": "1-2", "branch": "", "baserev": "", "patch_level": 1, "patch_body": PATCH, "repository": None}
    return json.dumps({**told, **values}).encode()


OLD = ("1-2", "main", "r1", 1, PATCH)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (job(1, *OLD), {}),
        (job(1, *OLD, "a", "b"), {"builders": ["a", "b"]}),
        (job(2, *OLD, "repo", "proj", "a"), {"repository": "repo", "project": "proj", "builders": ["a"]}),
        (job(3, *OLD, "repo", "proj", "jo"), {"repository": "repo", "project": "proj", "who": "jo"}),
        (job(4, *OLD, "", "", "jo", "why", "a"), {"who": "jo", "comment": "why", "builders": ["a"]}),
        (job(5, described(branch="main", baserev="r1")), {}),
        (
            job(5, described(branch="main", baserev="r1", who="jo", builderNames=["a"], properties={"p": "v"})),
            {"who": "jo", "builders": ["a"], "properties": {"p": "v"}},
        ),
        (
            job(
                6,
                described(
                    branch="main",
                    baserev="r1",
                    patch_body=None,
                    patch_body_base64=base64.b64encode(PATCH.encode()).decode(),
                ),
            ),
            {},
        ),
    ],
)
def test_jobs(data: bytes, expected: dict[str, Any]) -> None:
    """Each version that clients have sent is read."""
    found = read_job(data)
    assert (found.jobid, found.branch, found.revision, found.level, found.patch) == ("1-2", "main", "r1", 1, PATCH)
    usual = {"repository": "", "project": "", "builders": [], "who": "", "comment": "", "properties": {}}
    assert {name: getattr(found, name) for name in usual} == usual | expected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "unknown version"),
        (job(7, "x"), "unknown version b'7'"),
        (b"no netstring", "at byte 0 there is no netstring"),
        (job(1, *OLD)[:-1], "not complete"),
        (job(1, "1-2", "main"), "it has 2 parts, 5 are needed"),
        (job(1, "1-2", "main", "r", "one", PATCH), "the level of the patch must be a number, not 'one'"),
        (job(1, "1-2", "main", "r", 1, b"\xff"), "is not UTF-8"),
        (job(5, "{"), "it is no JSON"),
        (job(5, "[]"), "it must be a JSON object"),
        (job(5, described(builderNames="a")), "builderNames must be a list"),
        (job(5, described(properties=[1])), "properties must be an object"),
        (job(6, described(patch_body_base64="?")), "patch_body_base64"),
        (b" " * (MAX_JOB_BYTES + 1), "more than"),
    ],
)
def test_files_that_are_no_jobs(data: bytes, said: str) -> None:
    """It says why."""
    with pytest.raises(BadJobError, match=said):
        read_job(data)


@pytest.fixture(name="farm")
def make_farm(master: Any, tmp_path: Path) -> SchedulerHarness:
    made = SchedulerHarness(master)
    made.master.basedir = tmp_path
    for each in ("new", "cur", "tmp"):
        (tmp_path / "jobs" / each).mkdir(parents=True)
    return made


async def test_jobdir(farm: SchedulerHarness, tmp_path: Path) -> None:
    """Each job is built once and moved, over restarts too; a job that cannot be built is moved and logged."""
    new, cur = tmp_path / "jobs" / "new", tmp_path / "jobs" / "cur"

    def scheduler() -> Try_Jobdir:
        return Try_Jobdir("try", ["a", "b"], jobdir="jobs", properties={"own": 1})

    (new / "1").write_bytes(
        job(5, described(who="jo", comment="why", builderNames=["b"], properties={"own": 2, "p": "v"}))
    )
    await farm.start(scheduler())
    await farm.has_count(1)
    (buildset,) = await farm.buildsets()
    assert (buildset["reason"], buildset["external_idstring"]) == ("'try' job by user jo", "1-2")
    (stamp,) = buildset["sourcestamps"]
    assert (stamp["branch"], stamp["revision"], stamp["repository"], stamp["codebase"]) == (None, None, "", "")
    patch = {"body": PATCH, "level": 1, "author": "jo", "comment": "why", "subdir": ""}
    assert {key: stamp["patch"][key] for key in patch} == patch
    properties = await farm.master.data.get({}, ("buildsets", 1, "properties"))
    assert properties == {"own": [1, "Scheduler"], "p": ["v", "try build"], "scheduler": ["try", "Scheduler"]}

    async def moved(*expected: str) -> None:
        async def there() -> bool:
            return {each.name for each in cur.iterdir()} == set(expected) and not list(new.iterdir())

        await until(there)

    await moved("1")
    with capturedLogs() as logs:
        (new / "2").write_bytes(job(5, described(builderNames=["b", "unknown"])))
        (new / "3").write_bytes(b"nonsense")
        (new / "4").write_bytes(job(5, described(patch_body="")))
        farm.clock.advance(10)
        await moved("1", "2", "3", "4")
    problems = [str(each.get("problem", "")) for each in logs]
    assert any("there is no builder 'unknown' here; there are a, b" in each for each in problems)
    assert any("no netstring" in each for each in problems)
    last = (await farm.buildsets())[-1]
    assert last["reason"] == "'try' job" and last["sourcestamps"][0]["patch"] is None
    # a crash between the buildset and the move
    (cur / "4").rename(new / "4")
    await farm.restart(scheduler())
    await moved("1", "2", "3", "4")
    assert len(await farm.buildsets()) == 2
    await farm.stop()


class Observer(pb.Referenceable):
    """The client's object, which the master calls."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.builds: list[Any] = []
        self.ended: Deferred[Any] = Deferred()

    def remote_newbuild(self, build: Any, name: str) -> None:
        self.said.append(("newbuild", name))
        self.builds.append(build)

    def remote_stepStarted(self, name: str, build: Any, step: str, _: Any) -> None:
        self.said.append(("stepStarted", name, step))

    def remote_stepFinished(self, name: str, build: Any, step: str, _: Any, results: int) -> None:
        self.said.append(("stepFinished", name, step, results))


class Client:
    """A client that has logged in."""

    def __init__(self, master: Any) -> None:
        self.master = Running(master)

    async def start(self, user: str = "jo", password: str = "secret") -> Any:
        users = [("jo", "secret"), ("al", "other")]
        self.scheduler = Try_Userpass("try", ["a", "b"], "tcp:0:interface=127.0.0.1", users)
        await self.scheduler.run_in(self.master)  # type: ignore[arg-type]
        address: Any = self.master.client_ports.address("tcp:0:interface=127.0.0.1")
        factory: Any = pb.PBClientFactory()
        self.connection = reactor.connectTCP("127.0.0.1", address.port, factory)
        return await factory.login(UsernamePassword(user.encode(), password.encode()))

    async def stop(self) -> None:
        self.connection.disconnect()
        await self.scheduler.stop_running()


async def test_userpass(master: Any) -> None:
    """The messages to a client from the job to the end of its build."""
    client = Client(master)
    perspective = await client.start()
    assert await perspective.callRemote("getAvailableBuilderNames") == ["a", "b"]
    arguments = ("main", "r1", (1, PATCH.encode()), None, "", ["a"], "jo", "why", {"p": "v"})
    buildset = await perspective.callRemote("try", *arguments)
    ((name, request),) = await buildset.callRemote("getBuildRequests")
    observer = Observer()
    await request.callRemote("subscribe", observer)
    (row,) = await client.master.data.get({}, ("buildsets",))
    assert (name, row["reason"], row["external_idstring"]) == ("a", "'try' job by user jo (why)", None)

    update = client.master.data.update
    (pending,) = await client.master.data.get({}, ("buildrequests",))
    brid = pending["buildrequestid"]
    await update.claimBuildRequests([brid])
    buildid = await update.newBuild(brid)

    async def new() -> bool:
        return bool(observer.builds)

    await until(new)
    (build,) = observer.builds
    await build.callRemote("subscribe", observer, 20)
    finished = build.callRemote("waitUntilFinished")
    step = await update.newStep(buildid, "compile")
    await update.startStep(step["stepid"])
    await update.finishStep(step["stepid"], SUCCESS)
    await update.setBuildStateString(buildid, "build successful")
    await update.endBuild(buildid, brid, SUCCESS)
    status = await finished
    assert await status.callRemote("getResults") == SUCCESS
    assert await status.callRemote("getText") == ["build successful"]
    assert observer.said == [
        ("newbuild", "a"),
        ("stepStarted", "a", "compile"),
        ("stepFinished", "a", "compile", SUCCESS),
    ]
    await client.stop()


async def test_jobs_and_logins_that_are_refused(master: Any) -> None:
    """An invalid job, or one for an unknown builder, is answered with None; a wrong password with an error."""
    client = Client(master)
    perspective = await client.start("al", "other")
    with capturedLogs() as logs:
        for patch, names in (((1, PATCH), ["a", "x"]), ((1, b"\xff"), None), ((1, PATCH), "a"), (("x", PATCH), None)):
            assert await perspective.callRemote("try", None, None, patch, None, "", names) is None
    assert len([each for each in logs if "is not built" in str(each.get("log_format"))]) == 4
    assert await client.master.data.get({}, ("buildsets",)) == []
    # old clients say less; without a patch it is built as it is, by all builders
    buildset = await perspective.callRemote("try", "", "", (0, None), None, "", [])
    assert [name for name, _ in await buildset.callRemote("getBuildRequests")] == ["a", "b"]
    await client.stop()
    wrong = Client(master)
    with pytest.raises(pb.RemoteError):
        await wrong.start("jo", "guess")
    await wrong.stop()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Try_Jobdir("t", ["a"]), "argument 'jobdir' is missing"),
        (lambda: Try_Userpass("t", ["a"], 8031, []), "userpass must have at least one pair"),
        (lambda: Try_Userpass("t", ["a"], 8031, [("jo", "a"), ("jo", "b")]), "each user once"),
        (lambda: Try_Userpass("t", ["a"], 8031, ["jo"]), "must be pairs (user, password)"),
        (lambda: Try_Userpass("t", ["a"], None, [("jo", "a")]), "port must be a port"),
    ],
)
def test_mistakes(make: Any, said: str) -> None:
    """Wrong arguments are mistakes of the configuration."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert said in str(caught.value)


def test_names() -> None:
    """The plugin names, and those that old configurations import, are the classes."""
    assert schedulers.Try_Userpass is Try_Userpass is buildbot.scheduler.Try_Userpass
    assert schedulers.Try_Jobdir is Try_Jobdir is buildbot.scheduler.Try_Jobdir
