"""Subscriptions by the paths of the Data API: all of them, beside what ``get`` gives there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from buildbot.data.exceptions import InvalidPathError
from buildbot.mq.log import Event, thdEventsAfter
from buildbot.resources import BY_PLURAL
from tests.support.events import Listener
from tests.unit.data.test_paths import KNOWN

Values = dict[str, Any]
Action = Callable[[], Awaitable[Any]]
#: variables whose meaning depends on the path that they stand in
_NAMES = {"data": "dataname", "workers": "workername"}


class World:
    """One of everything, made step by step; ``ids`` are the values of paths' variables."""

    def __init__(self, state: Any, number: int) -> None:
        self.state = state
        self.number = number
        self.ids: Values = {
            "buildername": f"linux {number}",
            "build_number": 1,
            "step_number": 0,
            "step_name": "compile",
            "log_slug": "stdio",
            "dataname": "core",
            "workername": f"w{number}",
            "schedulername": f"s{number}",
            "projectname": f"p{number}",
            "codebasename": "code",
            "revision": f"r{number}",
        }

    def actions(self) -> Iterator[Action]:
        """All that happens in it, in order."""
        update, ids, n = self.state.data.update, self.ids, self.number

        async def project() -> None:
            ids["projectid"] = await update.find_project_id(f"p{n}")
            ids["codebaseid"] = await update.find_codebase_id(projectid=ids["projectid"], name="code")

        yield project
        yield lambda: update.update_codebase_info(
            codebaseid=ids["codebaseid"], projectid=ids["projectid"], slug=f"c{n}"
        )
        yield lambda: update.update_project_info(ids["projectid"], f"slug{n}", None, None, None)

        async def commits() -> None:
            of = {"codebaseid": ids["codebaseid"], "author": "a", "comments": "c"}
            ids["commitid1"] = ids["commitid"] = await update.add_commit(**of, revision=f"r{n}")
            ids["commitid2"] = await update.add_commit(**of, revision=f"q{n}", parent_commitid=ids["commitid1"])

        yield commits

        async def branch() -> None:
            ids["branchid"] = await update.update_branch(codebaseid=ids["codebaseid"], name="main")

        yield branch

        async def master() -> None:
            ids["masterid"] = await update.findMasterId(f"m{n}")

        yield master
        yield lambda: self._as_master(update.masterActive)

        async def names() -> None:
            ids["builderid"] = await update.findBuilderId(f"linux {n}")
            await update.findBuilderId(f"other {n}")

        yield names

        async def builders(projectid: int | None) -> None:
            named = [{"name": f"linux {n}", "projectid": projectid}, {"name": f"other {n}"}]
            await update.setBuilders(named)

        yield lambda: self._as_master(lambda: builders(ids["projectid"]))

        async def workers() -> None:
            ids["workerid"] = (await update.setWorkers({f"w{n}": [ids["builderid"]]}))[f"w{n}"]

        yield lambda: self._as_master(workers)
        yield lambda: self._as_master(lambda: update.workerConnected(ids["workerid"], {"n": n}))
        yield lambda: self._as_master(lambda: builders(ids["projectid"]))

        async def parts() -> None:
            ids["schedulerid"] = await update.findSchedulerId(f"s{n}")
            ids["changesourceid"] = await update.findChangeSourceId(f"cs{n}")

        yield parts
        yield lambda: update.setSchedulerMaster(ids["schedulerid"], ids["masterid"])
        yield lambda: update.setChangeSourceMaster(ids["changesourceid"], ids["masterid"])
        yield lambda: update.schedulerEnable(ids["schedulerid"], False)

        async def change() -> None:
            ids["changeid"] = await update.addChange(author="a", revision=f"r{n}", branch="main", codebase="code")
            ids["ssid"] = (await self.state.data.get({}, ("changes", ids["changeid"])))["sourcestamp"]["ssid"]

        yield change

        async def buildset(**more: Any) -> None:
            stamp = {"branch": "main", "revision": f"r{n}", "codebase": "code", "changeids": [ids["changeid"]]}
            bsid, brids = await update.addBuildset(sourcestamps=[stamp], builderNames=[f"linux {n}"], **more)
            ids["bsid"] = ids["buildsetid"] = bsid
            (ids["buildrequestid"],) = brids.values()

        yield buildset
        yield lambda: self._as_master(lambda: update.claimBuildRequests([ids["buildrequestid"]]))

        async def build() -> None:
            ids["buildid"] = await update.newBuild(ids["buildrequestid"], workerid=ids["workerid"])

        yield lambda: self._as_master(build)
        yield lambda: self._as_master(lambda: update.setBuildProperties(ids["buildid"], {"p": (n, "s")}))

        async def step() -> None:
            found = await update.newStep(ids["buildid"], "compile")
            ids["stepid"] = found["stepid"]
            assert found["number"] == 0
            await update.newStep(ids["buildid"], "other")

        yield lambda: self._as_master(step)
        yield lambda: self._as_master(lambda: update.startStep(ids["stepid"]))

        async def log() -> None:
            ids["logid"] = await update.newLog(ids["stepid"], "stdio", "s")
            await update.newLog(ids["stepid"], "other", "s")

        yield lambda: self._as_master(log)
        yield lambda: self._as_master(lambda: update.appendLog(ids["logid"], "ohello\n"))

        async def results() -> None:
            ids["test_result_setid"] = await update.addTestResultSet(
                ids["builderid"], ids["buildid"], ids["stepid"], "d", "pass_fail", "boolean"
            )

        yield lambda: self._as_master(results)
        yield lambda: self._as_master(lambda: update.completeTestResultSet(ids["test_result_setid"], 1, 0))
        yield lambda: self._as_master(lambda: update.setBuildData(ids["buildid"], "core", b"x", "s"))
        yield lambda: self._as_master(lambda: self._triggered())
        yield lambda: self._as_master(lambda: update.finishLog(ids["logid"]))
        yield lambda: self._as_master(lambda: update.finishStep(ids["stepid"], 0))
        yield lambda: self._as_master(lambda: update.finishBuild(ids["buildid"], 0))
        yield lambda: self._as_master(lambda: update.completeBuildRequests([ids["buildrequestid"]], 0))

        async def cancelled() -> None:
            _, brids = await update.addBuildset(sourcestamps=[{"branch": f"only {n}"}], builderNames=[f"linux {n}"])
            (brid,) = brids.values()
            await self.state.data.control("cancel", {}, ("buildrequests", brid))

        yield cancelled
        yield lambda: self._as_master(lambda: builders(None))
        yield lambda: self._as_master(lambda: update.setWorkers({}))
        yield lambda: update.setSchedulerMaster(ids["schedulerid"], None)
        yield lambda: update.setChangeSourceMaster(ids["changesourceid"], None)
        yield lambda: self._as_master(update.masterStopped)

    async def _triggered(self) -> None:
        update, n = self.state.data.update, self.number
        _, brids = await update.addBuildset(
            sourcestamps=[{"branch": f"only {n}"}],
            builderNames=[f"other {self.number}"],
            parent_buildid=self.ids["buildid"],
            parent_relationship="Triggered from",
        )
        (brid,) = brids.values()
        await update.claimBuildRequests([brid])
        await update.newBuild(brid)

    async def _as_master(self, action: Callable[[], Any]) -> Any:
        """Do something as the world's own master."""
        db, update = self.state.db, self.state.data.update
        mine = db.masterid, db.epoch, update.running
        db.masterid, db.epoch, update.running = self.ids["masterid"], self.ids.get("epoch", 0), "epoch" in self.ids
        try:
            return await action()
        finally:
            self.ids["epoch"] = db.epoch
            db.masterid, db.epoch, update.running = mine


def filled(pattern: str, values: Values) -> tuple[Any, ...] | None:
    """The path with the values of its variables."""
    path: list[Any] = []
    for part in pattern.split("/") if pattern else ():
        _, colon, name = part.partition(":")
        path.append(values[_NAMES.get(path[-1], name) if name == "name" else name] if colon else part)
    return tuple(path)


class Oracle:
    """What must be heard at each path, by what ``get`` gives there before and after something happens."""

    def __init__(self, state: Any, values: Values) -> None:
        self._state = state
        self.paths = {pattern: filled(pattern, values) for *_, pattern in KNOWN}
        self._there: dict[str, frozenset[Any]] = {}
        self.expected: dict[str, list[int]] = {pattern: [] for pattern in self.paths}

    async def look(self) -> dict[str, frozenset[Any]]:
        """The keys of what is at each path."""
        return {pattern: frozenset(await self._keys(pattern, path)) for pattern, path in self.paths.items()}

    async def _keys(self, pattern: str, path: Any) -> list[Any]:
        kind = pattern.rpartition("/")[2]
        if kind in ("contents", "raw", "raw_inline"):
            path = path[:-1]
        if kind in ("properties", "property_list"):
            owner = await self._state.data.get({}, path[:-1])
            return [] if owner is None or "buildid" not in owner else [owner["buildid"]]
        found = await self._state.data.get({}, path)
        resource = BY_PLURAL.get("logs" if path != self.paths[pattern] else self._plural(path))
        listed = found if isinstance(found, list) else [found] if found else []
        return [] if resource is None else [one[resource.key] for one in listed]

    def _plural(self, path: Any) -> str:
        return str(self._state.data.endpoint(path).plural)

    async def around(self, action: Action) -> None:
        """Do something, and note what must be heard of it where."""
        before = self._there or await self.look()
        clock = await self._state.data.clock()
        await action()
        after = self._there = await self.look()
        for event in await self._state.db.pool.read(thdEventsAfter, clock, 1000):
            for pattern, path in self.paths.items():
                if self._is_about(event, pattern, path, before[pattern] | after[pattern]):
                    self.expected[pattern].append(event.seq)

    def _is_about(self, event: Event, pattern: str, path: Any, keys: frozenset[Any]) -> bool:
        if not event.keys:
            return False
        key = event.keys[0].split("/")
        kind = pattern.rpartition("/")[2]
        if kind in ("properties", "property_list"):
            return key[:1] + key[2:] == ["builds", "properties", "update"] and int(key[1]) in keys
        plural = "logs" if kind in ("contents", "raw", "raw_inline") else self._plural(path)
        resource = BY_PLURAL.get(plural)
        return resource is not None and key[0] == plural and len(key) == 3 and event.message[resource.key] in keys


class Ear(Listener):
    """A listener that notes numbers of events."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def hear(self, event: Event, key: tuple[str, ...]) -> None:
        """As a client of ``follow`` hears."""
        assert "/".join(key) in event.keys
        self.numbers.append(event.seq)


async def ears(state: Any, paths: dict[str, Any], since: int | None = None) -> dict[str, dict[str, Ear]]:
    """Who listens at each path: in Python, and as clients over HTTP do, with and without wildcards."""
    options = {} if since is None else {"since": since}
    found: dict[str, dict[str, Ear]] = {}
    for pattern, path in paths.items():
        endpoint = state.data.endpoint(path)
        text = "/".join(map(str, path))
        texts = {"bare": text, "wild": text + ("/*/*" if endpoint.is_collection else "/*")}
        found[pattern] = {}
        for name, each in texts.items() if text else ():
            ear = found[pattern][name] = Ear()
            ear.subscription = await state.data.follow(each, ear.hear, since)
        ear = found[pattern]["python"] = Ear()
        ear.subscription = await state.data.startConsuming(ear, options, path)
    return found


async def test_every_path(state: Any) -> None:
    """A subscription hears exactly what happens to what ``get`` gives at its path, once each: on every path, before
    anything is there, while it is there, and from the log later.
    """
    first, second, third = (World(state, number) for number in (1, 2, 3))
    for world in (first, second):
        for action in world.actions():
            await action()
    # the third one's ids are as far from the second's as those are from the first's
    ahead = third.ids | {k: v + v - first.ids[k] for k, v in second.ids.items() if k not in third.ids}
    oracle = Oracle(state, ahead)
    begin = await state.data.clock()
    early = await ears(state, oracle.paths)
    for action in third.actions():
        await oracle.around(action)
    assert {k: v for k, v in third.ids.items() if k != "epoch"} == {k: v for k, v in ahead.items() if k != "epoch"}
    late = await ears(state, oracle.paths, begin)
    for action in World(state, 4).actions():
        await oracle.around(action)
    clock = await state.data.clock()
    wrong = []
    for when, listening in (("early", early), ("late", late)):
        for pattern, by_name in listening.items():
            for name, ear in by_name.items():
                await ear.until(clock)
                heard = ear.clocks if name == "python" else ear.numbers
                if heard != oracle.expected[pattern] and (when, pattern) != ("early", RANGE):
                    wrong.append((when, name, pattern, heard, oracle.expected[pattern]))
    assert not wrong
    silent = {pattern.rpartition("/")[2] for pattern, numbers in oracle.expected.items() if not numbers}
    assert silent == SILENT


#: which commits are between two is known when there are both
RANGE = "codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2/test_result_sets"
#: the last words of paths where nothing is announced here: the root, what stays as it is, nouns without events, and
#: changes and source stamps of builds, which are there before and after
SILENT = {
    "",
    "application.spec",
    "changes",
    "commits_common_parent",
    "data",
    "forceschedulers",
    "i:name",
    "i:schedulername",
    "logchunks",
    "properties",
    "properties_list",
    "results",
    "sourcestamps",
    "n:ssid",
    "value",
}


async def test_no_path(state: Any) -> None:
    """A path that ``get`` does not know is refused."""
    for path in (("builds", "x"), ("nothing",), ("builds", 1, "steps", 1, "x")):
        with pytest.raises(InvalidPathError):
            await state.data.startConsuming(lambda key, message: None, {}, path)
