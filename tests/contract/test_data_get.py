"""Getter."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data import links
from buildbot.data.base import Link
from buildbot.data.exceptions import DataException, InvalidOptionError, InvalidPathError
from buildbot.resources import RESOURCES
from tests.support.building import STAMP, add_build, add_requests, run_build
from tests.support.samples import NAMES, NOBODY


async def ids(state: Any, key: str, path: tuple[Any, ...], **options: Any) -> list[Any]:
    """The keys of the resources in a list."""
    return [found[key] for found in await state.data.get(options, path)]


def test_exceptions() -> None:
    """DataException: this is a base class for all other Data API exceptions."""
    assert issubclass(InvalidPathError, DataException)
    assert issubclass(InvalidOptionError, DataException)


@pytest.mark.parametrize(
    "path",
    [("nothing",), ("builds", "x"), ("builds", ""), ("builds", 1.5), ("builds", True), ("builds", 1, "x"), ("Builds",)],
)
async def test_invalid_path(state: Any, path: tuple[Any, ...]) -> None:
    """InvalidPathError: the path argument was invalid or unknown."""
    for call in (state.data.get, state.data.snapshot):
        with pytest.raises(InvalidPathError):
            await call({}, path)
    for call in (state.data.startConsuming, state.data.watch):
        with pytest.raises(InvalidPathError):
            await call(lambda key, message: None, {}, path)
    with pytest.raises(InvalidPathError):
        await state.data.control("stop", {}, path)


async def test_path_is_a_tuple(state: Any) -> None:
    """The ``path`` arguments to these methods should always be tuples."""
    for path in ("builds", b"builds", None, 7):
        with pytest.raises(InvalidPathError):
            await state.data.get({}, path)


async def test_nothing_there(state: Any) -> None:
    """A path that matches and finds nothing: None for a single resource, [] for a list."""
    for endpoint in state.data.endpoints():
        path = tuple(str(NOBODY) if part.startswith("n:") else part.split(":")[-1] for part in endpoint.path.parts)
        if not endpoint.path.pattern or path[0] in ("masters", "application.spec"):
            continue
        found = await state.data.get({}, path)
        expected: Any = [] if endpoint.kind == "collection" else {} if path[-1] == "properties" else None
        assert found == expected, path


async def test_integers_as_text(state: Any) -> None:
    """Integer arguments can be presented as either integers or strings that can be parsed by int."""
    buildid, _ = await add_build(state)
    builder = await state.data.get({}, ("builders", "linux"))
    number = ("builders", builder["builderid"], "builds", 1)
    found = await state.data.get({}, ("builds", buildid))
    for path in (("builds", str(buildid)), number, tuple(map(str, number)), ("builders", "linux", "builds", "1")):
        assert await state.data.get({}, path) == found
    assert await state.data.get(None, ["builds", buildid]) == found


async def test_root(state: Any) -> None:
    """The root lists the collections."""
    names = [link["name"] for link in await state.data.get({}, ())]
    assert {"builders", "builds", "buildrequests", "workers", "buildsets", "changes", "masters"} <= set(names)
    for name in names:
        assert isinstance(await state.data.get({}, (name,)), list)


@pytest.mark.parametrize("name", [name for name in NAMES if name and not name.isdigit()][:12])
async def test_names_in_paths(state: Any, name: str) -> None:
    """Names in paths compare exactly, byte for byte."""
    builderid = await state.data.update.findBuilderId(name)
    for other in NAMES:
        if other and not other.isdigit():
            await state.data.update.findBuilderId(other)
    found = await state.data.get({}, ("builders", name))
    assert (found["builderid"], found["name"]) == (builderid, name)


async def test_simple_values(state: Any) -> None:
    """Simple Python objects - lists, dicts, strings, numbers, and None, along with Link instances."""
    await run_build(state)
    await state.data.update.addChange(properties={"p": (1, "Change")})

    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value)
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        else:
            assert value is None or type(value) in (str, int, float, bool, Link), value

    for resource in RESOURCES:
        for path in resource.paths:
            if not path.variables:
                found = await state.data.get({}, path.parts)
                check(found)
                for entity in found:
                    assert set(entity) == {*resource.fields, *resource.links}


async def test_property_values(state: Any) -> None:
    """Times are integer Unix seconds, properties are {name: [value, source]}, no tuples, no datetimes."""
    changeid = await state.data.update.addChange(properties={"p": [1, 2]}, when_timestamp=1_700_000_000)
    found = await state.data.get({}, ("changes", changeid))
    assert (found["properties"], found["when_timestamp"]) == ({"p": [[1, 2], "Change"]}, 1_700_000_000)


async def test_links(state: Any) -> None:
    """A link giving the path for this or another object; path is a list of path elements."""
    running = await run_build(state)
    build = await state.data.get({}, ("builds", running.buildid))
    assert build["buildrequest"].path == ["buildrequests", str(running.brid)]
    assert (build["builder"].path, build["worker"]) == (["builders", str(build["builderid"])], None)
    request = await state.data.get({}, build["buildrequest"].path)
    assert request["buildset"] == Link(["buildsets", str(running.bsid)])
    assert (await state.data.get({}, request["buildset"].path))["bsid"] == running.bsid


async def test_expand(state: Any) -> None:
    """expand names links to replace by the resource they point to, nested with dots."""
    running = await run_build(state)
    options = {"expand": ["buildrequest.buildset", "builder", "worker"]}
    build = await state.data.get(options, ("builds", running.buildid))
    assert build["buildrequest"]["buildset"]["bsid"] == running.bsid
    assert build["builder"] == await state.data.get({}, ("builders", "linux"))
    assert build["worker"] is None
    assert isinstance(build["master"], Link)
    (listed,) = await state.data.get(options, ("builds",))
    assert listed == build


async def test_expand_lists(state: Any) -> None:
    """A link to a list becomes the list."""
    running = await run_build(state)
    build = await state.data.get({"expand": ["steps.logs"]}, ("builds", running.buildid))
    assert [step["stepid"] for step in build["steps"]] == [running.stepid]
    assert [log["logid"] for log in build["steps"][0]["logs"]] == [running.logid]


async def test_expand_statements(state: Any) -> None:
    """With no more than one SQL statement per named level, however many rows the list has."""
    state.mq.stop()  # it looks at the log now and then
    counts = []
    for rows in (1, 30):
        await add_requests(state, *(f"b{rows}-{n}" for n in range(rows)))
        before = state.db.pool.statements
        await state.data.get({"expand": ["buildset", "builder"]}, ("buildrequests",))
        counts.append(state.db.pool.statements - before)
    assert counts[0] == counts[1]


async def test_expand_by_path(state: Any) -> None:
    """A link gives the resource at its path, under any name; a link to no noun is not followed."""
    running = await run_build(state)
    build = await state.data.get({}, ("builds", running.buildid))
    update = state.data.update
    setid = await update.addTestResultSet(build["builderid"], running.buildid, running.stepid, "d", "c", "u")
    assert (await state.data.get({"expand": ["results"]}, ("test_result_sets", setid)))["results"] == []
    with pytest.raises(InvalidOptionError, match="there are step"):
        await state.data.get({"expand": ["contents"]}, ("logs", running.logid))


async def test_expand_is_bounded(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What links lead to in circles multiplies: more than the bound is refused, by the name of the link."""
    monkeypatch.setattr(links, "MAX_EXPANDED", 30)
    for _ in range(4):
        await add_build(state)
    few = await state.data.get({"expand": ["builder.builds"], "limit": 2}, ("builds",))
    assert [len(build["builder"]["builds"]) for build in few] == [4, 4]
    with pytest.raises(InvalidOptionError, match=r"expand.*builder.*30"):
        await state.data.get({"expand": ["builder.builds.builder.builds"]}, ("builds",))
    monkeypatch.setattr(links, "MAX_EXPANDED", 3)
    with pytest.raises(InvalidOptionError, match=r"expand.*builds"):
        await state.data.get({"expand": ["builds"]}, ("builders", few[0]["builderid"]))
    with pytest.raises(InvalidOptionError, match="links after one another"):
        await state.data.get({"expand": ["builder.builds." * 5 + "builder"]}, ("builds",))


@pytest.mark.parametrize("link", ["nothing", "builder.nothing", "buildid", ""])
async def test_expand_unknown(state: Any, link: str) -> None:
    """An unknown link: InvalidOptionError naming it."""
    await add_build(state)
    with pytest.raises(InvalidOptionError, match=link.rpartition(".")[2] or "''"):
        await state.data.get({"expand": [link]}, ("builds",))


async def test_fields(state: Any) -> None:
    """fields a list, only those come back."""
    buildid, brid = await add_build(state)
    for path in (("builds", buildid), ("builds",)):
        found = await state.data.get({"fields": ["buildid", "buildrequestid"]}, path)
        assert found in ({"buildid": buildid, "buildrequestid": brid}, [{"buildid": buildid, "buildrequestid": brid}])


async def test_order(state: Any) -> None:
    """order is a list of fields, - for descending; NULL is lowest; equal elements keep one order."""
    _, brids = await add_requests(state, "a", "b", "c", "d")
    for brid, priority in zip(brids, (2, 1, 2, 1), strict=True):
        await state.data.control("set_priority", {"priority": priority}, ("buildrequests", brid))
    await state.db.buildrequests.claimBuildRequests([brids[1]])
    path = ("buildrequests",)
    a, b, c, d = brids
    assert await ids(state, "buildrequestid", path) == [a, b, c, d]
    assert await ids(state, "buildrequestid", path, order=["-buildrequestid"]) == [d, c, b, a]
    assert await ids(state, "buildrequestid", path, order=["priority"]) == [b, d, a, c]
    assert await ids(state, "buildrequestid", path, order=["-priority", "buildrequestid"]) == [a, c, b, d]
    assert await ids(state, "buildrequestid", path, order=["claimed_at", "buildrequestid"]) == [a, c, d, b]
    assert (await ids(state, "buildrequestid", path, order=["-claimed"]))[0] == b
    assert await ids(state, "buildrequestid", path, order=()) == [a, b, c, d]


async def test_pages(state: Any) -> None:
    """limit, offset integers >= 0; the list knows how many there are on all pages; without limit it is complete."""
    _, brids = await add_requests(state, *"abcdefg")
    expected = sorted(brids)
    for limit in (None, 0, 1, 3, 7, 8):
        for offset in (None, 0, 1, 6, 7, 100):
            found = await state.data.get({"limit": limit, "offset": offset}, ("buildrequests",))
            begin = offset or 0
            page = expected[begin:] if limit is None else expected[begin : begin + limit]
            assert [request["buildrequestid"] for request in found] == page, (limit, offset)
            assert found.total == 7


async def test_complete_lists(state: Any) -> None:
    """In Python ``get``, ``snapshot`` and ``watch`` without ``limit`` are complete."""
    await add_requests(state, *(f"b{number}" for number in range(1_500)))
    assert len(await state.data.get({}, ("buildrequests",))) == 1_500
    assert len((await state.data.snapshot({}, ("buildrequests",)))[0]) == 1_500


async def test_changes_newest_first(state: Any) -> None:
    """The default order of changes: newest first."""
    changes = [await state.data.update.addChange() for _ in range(3)]
    assert await ids(state, "changeid", ("changes",)) == changes[::-1]
    assert await ids(state, "changeid", ("changes",), order=["changeid"], limit=2) == changes[:2]


async def test_properties_option(state: Any) -> None:
    """``properties`` on builds and buildrequests: names of those wanted, * for all."""
    buildid, brid = await add_build(state, properties={"of set": (1, "s")})
    await state.data.update.setBuildProperties(buildid, {"a": ("x", "src"), "b": (None, "src")})

    async def got(path: tuple[Any, ...], *names: str) -> Any:
        return (await state.data.get({"properties": list(names)} if names else {}, path))["properties"]

    assert await got(("builds", buildid)) == {}
    assert await got(("builds", buildid), "a", "nothing") == {"a": ["x", "src"]}
    assert await got(("builds", buildid), "*") == {"a": ["x", "src"], "b": [None, "src"]}
    assert await got(("buildrequests", brid)) is None
    assert await got(("buildrequests", brid), "*") == {"of set": [1, "s"]}
    assert await state.data.get({}, ("builds", buildid, "properties")) == {"a": ["x", "src"], "b": [None, "src"]}


async def test_log_lines(state: Any) -> None:
    """contents honours offset and limit as line numbers."""
    running = await run_build(state, lines="oa\nob\nec\n")
    path = ("logs", running.logid, "contents")

    async def content(**options: int) -> Any:
        found = await state.data.get(options, path)
        return None if found is None else (found["firstline"], found["content"])

    assert await state.data.get({}, path) == {"logid": running.logid, "firstline": 0, "content": "oa\nob\nec\n"}
    assert await content(offset=1) == (1, "ob\nec\n")
    assert await content(offset=1, limit=1) == (1, "ob\n")
    assert await content(offset=2, limit=100) == (2, "ec\n")
    assert await content(offset=3, limit=1) == (3, "")
    assert await content(offset=3) is None
    assert await content(limit=0) is None


async def test_log_lines_of_another_moment(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that were read after their log, when something had been written, are read again in a snapshot."""
    running = await run_build(state, lines="oa\nob\n")
    logs = state.db.logs
    read = logs.thdGetLogLinesAt
    clocks: list[int] = []

    def later(*arguments: Any) -> tuple[str, int]:
        content, clock = read(*arguments)
        clocks.append(clock)
        return content, clock + 1

    monkeypatch.setattr(logs, "thdGetLogLinesAt", later)
    found, clock = await state.data.snapshot({}, ("logs", running.logid, "contents"))
    assert (found["content"], clock) == ("oa\nob\n", await state.data.clock())
    assert clocks == [clock] * (2 if state.db.dialect.remote else 1)


async def test_sees_all_commits(state: Any, second_master: Any) -> None:
    """master.data.get sees what any master has committed."""
    for number in range(5):
        changeid = await second_master.data.update.addChange(author=str(number))
        assert (await state.data.get({}, ("changes", changeid)))["author"] == str(number)
        await second_master.db.users.findUserByAttr("i", "t", str(number))


async def test_embedded(state: Any) -> None:
    """A buildset's ``sourcestamps``, with their patch or None."""
    stamps = [{**STAMP, "codebase": "a"}, {**STAMP, "codebase": "b", "patch_body": "diff", "patch_level": 1}]
    bsid, _ = await add_requests(state, "linux", sourcestamps=stamps)
    found = await state.data.get({}, ("buildsets", bsid))
    by_codebase = {stamp["codebase"]: stamp for stamp in found["sourcestamps"]}
    assert by_codebase["a"]["patch"] is None
    assert (by_codebase["b"]["patch"]["body"], by_codebase["b"]["patch"]["level"]) == ("diff", 1)
    assert {s["ssid"] for s in found["sourcestamps"]} == {
        s["ssid"] for s in await state.data.get({}, ("buildsets", bsid, "sourcestamps"))
    }


async def test_lines_beyond_all_numbers(state: Any) -> None:
    """Lines after the last that any database can count are none, which is no error."""
    running = await run_build(state)
    path = ("logs", running.logid, "contents")
    found = await state.data.get({"offset": 2**63 - 1, "limit": 2**63 - 1}, path)
    assert found["content"] == ""
    assert (await state.data.get({"offset": 0, "limit": 2**63 - 1}, path))["content"] == "ohello\n"
