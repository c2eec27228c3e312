"""Filters of lists, and options that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data import options
from buildbot.data.exceptions import InvalidOptionError
from buildbot.resources import RESOURCES
from buildbot.resources.base import Field
from tests.support.building import add_requests
from tests.support.refusals import unchanged


@pytest.fixture
def authors() -> list[tuple[str, str | None, list[str]]]:
    """Author, branch and files of some changes."""
    return [
        ("Al", "main", ["a.c", "b.c"]),
        ("al", None, []),
        ("Bo", "dev", ["b.c"]),
        ("Çe", "main ", ["a.c", "%"]),
        ("100%", "d_v", ['quo"te', "back\\slash", "🦊"]),
    ]


def texts_contain(value: str | None, *pieces: str) -> bool:
    """What ``contains`` means for text."""
    return value is not None and any(piece in value for piece in pieces)


AUTHOR: list[tuple[dict[str, Any], Any]] = [
    ({"author": "Al"}, lambda a, b, f: a == "Al"),
    ({"author": ["Al", "Bo", "nobody"]}, lambda a, b, f: a in ("Al", "Bo")),
    ({"author__eq": "al"}, lambda a, b, f: a == "al"),
    ({"author__eq": ("al", "Bo")}, lambda a, b, f: a in ("al", "Bo")),
    ({"author__ne": "Al"}, lambda a, b, f: a != "Al"),
    ({"author__ne": ["Al", "Bo"]}, lambda a, b, f: a not in ("Al", "Bo")),
    ({"author__in": ["Al", "Çe"]}, lambda a, b, f: a in ("Al", "Çe")),
    ({"author__notin": ["Al", "Çe"]}, lambda a, b, f: a not in ("Al", "Çe")),
    ({"author__contains": "l"}, lambda a, b, f: "l" in a),
    ({"author__contains": "%"}, lambda a, b, f: "%" in a),
    ({"author__contains": ["A", "o"]}, lambda a, b, f: "A" in a or "o" in a),
    ({"author__contains": "c"}, lambda a, b, f: "c" in a),
    ({"branch": "main"}, lambda a, b, f: b == "main"),
    ({"branch": None}, lambda a, b, f: b is None),
    ({"branch": [None, "dev"]}, lambda a, b, f: b in (None, "dev")),
    ({"branch__ne": "main"}, lambda a, b, f: b != "main"),
    ({"branch__ne": None}, lambda a, b, f: b is not None),
    ({"branch__ne": [None, "dev"]}, lambda a, b, f: b not in (None, "dev")),
    ({"branch__notin": ["main", "dev"]}, lambda a, b, f: b not in ("main", "dev")),
    ({"branch__contains": "_"}, lambda a, b, f: texts_contain(b, "_")),
    ({"files__contains": "b.c"}, lambda a, b, f: "b.c" in f),
    ({"files__contains": ["b.c", "%"]}, lambda a, b, f: "b.c" in f or "%" in f),
    ({"files__contains": "b"}, lambda a, b, f: False),
    ({"files__contains": 'quo"te'}, lambda a, b, f: 'quo"te' in f),
    ({"files__contains": "back\\slash"}, lambda a, b, f: "back\\slash" in f),
    ({"files__contains": "🦊"}, lambda a, b, f: "🦊" in f),
    ({"author": "Al", "branch": "main"}, lambda a, b, f: a == "Al"),
    ({"author": "Al", "branch": "dev"}, lambda a, b, f: False),
    ({}, lambda a, b, f: True),
]


async def test_text_and_lists(state: Any, authors: list[tuple[str, str | None, list[str]]]) -> None:
    """Each operator with one value and with several; filters of different parameters are ANDed."""
    rows = {}
    for author, branch, files in authors:
        rows[await state.data.update.addChange(author=author, branch=branch, files=files)] = (author, branch, files)
    for filters, wanted in AUTHOR:
        found = await state.data.get({"filters": filters}, ("changes",))
        expected = {changeid for changeid, row in rows.items() if wanted(*row)}
        assert {change["changeid"] for change in found} == expected, filters
        assert found.total == len(expected)


async def test_numbers(state: Any) -> None:
    """Comparison of whole numbers and times, with one value."""
    times = [0, 1, 2, 1_700_000_000]
    for moment in times:
        await state.data.update.addChange(when_timestamp=moment)
    expected = {
        "lt": lambda t: t < 2,
        "le": lambda t: t <= 2,
        "gt": lambda t: t > 2,
        "ge": lambda t: t >= 2,
        "eq": lambda t: t == 2,
        "ne": lambda t: t != 2,
    }
    for operator, wanted in expected.items():
        found = await state.data.get({"filters": {f"when_timestamp__{operator}": 2}}, ("changes",))
        assert sorted(change["when_timestamp"] for change in found) == list(filter(wanted, times)), operator


async def test_booleans(state: Any) -> None:
    """Derived booleans are filtered in SQL like any other field."""
    _, (mine, free) = await add_requests(state, "mine", "free")
    await state.db.buildrequests.claimBuildRequests([mine])
    cases: list[tuple[dict[str, Any], set[int]]] = [
        ({"claimed": True}, {mine}),
        ({"claimed": False}, {free}),
        ({"claimed__ne": True}, {free}),
        ({"claimed": [True, False]}, {mine, free}),
        ({"claimed__ne": [True, False]}, set()),
        ({"complete": False, "claimed": True}, {mine}),
        ({"complete__ne": False}, set()),
        ({"claimed_by_masterid": state.masterid}, {mine}),
        ({"claimed_by_masterid": None}, {free}),
    ]
    for filters, expected in cases:
        found = await state.data.get({"filters": filters}, ("buildrequests",))
        assert {request["buildrequestid"] for request in found} == expected, filters


async def test_unclaimed_is_what_waits(state: Any) -> None:
    """``claimed`` False is unclaimed and not complete, as for ``getBuildRequests``; ``complete`` may say otherwise."""
    _, (cancelled, free) = await add_requests(state, "cancelled", "free")
    await state.data.control("cancel", {}, ("buildrequests", cancelled))
    cases: list[tuple[dict[str, Any], set[int]]] = [
        ({"claimed": False}, {free}),
        ({"claimed": False, "complete": True}, {cancelled}),
        ({"claimed": False, "complete": [True, False]}, {cancelled, free}),
        ({"claimed": True}, set()),
    ]
    for filters, expected in cases:
        found = await state.data.get({"filters": filters}, ("buildrequests",))
        assert {request["buildrequestid"] for request in found} == expected, filters


async def test_tags(state: Any) -> None:
    """contains: membership for lists (tags, masterids)."""
    ids = await state.data.update.setBuilders([{"name": "a", "tags": ["x", "y"]}, {"name": "b", "tags": ["xy"]}])
    for filters, expected in (
        ({"tags__contains": "x"}, {"a"}),
        ({"tags__contains": ["y", "xy"]}, {"a", "b"}),
        ({"tags__contains": ""}, set()),
        ({"masterids__contains": state.masterid}, {"a", "b"}),
        ({"masterids__contains": -1}, set()),
    ):
        found = await state.data.get({"filters": filters}, ("builders",))
        assert {builder["name"] for builder in found} == expected, filters
    assert len(ids) == 2


async def test_every_field(state: Any) -> None:
    """SQL does the filtering and ordering for every documented field of every noun."""
    samples = {"int": 1, "time": 1, "str": "x", "bool": True, "list": "x"}
    for resource in RESOURCES:
        path = next((path.parts for path in resource.paths if not path.variables), None)
        if path is None:
            continue
        for name, attribute in resource.fields.items():
            kind = resource.kind(name)
            if isinstance(attribute, Field):
                assert isinstance(await state.data.get({"order": [f"-{name}"]}, path), list)
            if kind in ("int", "time", "str", "bool"):
                for operator in ("eq", "ne", "in", "notin", *(("lt", "ge") if kind != "bool" else ())):
                    found = await state.data.get({"filters": {f"{name}__{operator}": samples[kind]}}, path)
                    assert isinstance(found, list), (resource.name, name, operator)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"nothing": 1}, "nothing"),
        ({"since": 1}, "since"),
        ({"filters": []}, "filters"),
        ({"filters": {"nothing": 1}}, "nothing"),
        ({"filters": {"author__like": "x"}}, "like"),
        ({"filters": {"author": 1}}, "author"),
        ({"filters": {"author": b"x"}}, "author"),
        ({"filters": {"author": "nul\x00"}}, "author"),
        ({"filters": {"author": "lone \ud800"}}, "author"),
        ({"filters": {"author": []}}, "author"),
        ({"filters": {"author__lt": ["a", "b"]}}, "author__lt"),
        ({"filters": {"author__gt": None}}, "author__gt"),
        ({"filters": {"author__contains": None}}, "author__contains"),
        ({"filters": {"changeid": "1"}}, "changeid"),
        ({"filters": {"changeid": True}}, "changeid"),
        ({"filters": {"changeid": 2**63}}, "changeid"),
        ({"filters": {"changeid__contains": 1}}, "changeid"),
        ({"filters": {"files": "a"}}, "files"),
        ({"filters": {"files__contains": 1}}, "files"),
        ({"filters": {"properties": "a"}}, "properties"),
        ({"filters": {"sourcestamp__eq": 1}}, "sourcestamp"),
        ({"filters": {1: 2}}, "1"),
        ({"fields": "author"}, "fields"),
        ({"fields": ["nothing"]}, "nothing"),
        ({"fields": [1]}, "fields"),
        ({"order": "author"}, "order"),
        ({"order": ["nothing"]}, "nothing"),
        ({"order": ["--author"]}, "-author"),
        ({"order": ["sourcestamp"]}, "sourcestamp"),
        ({"limit": -1}, "limit"),
        ({"limit": "1"}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": 2**63}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": "1"}, "offset"),
        ({"expand": "builds"}, "expand"),
        ({"expand": [1]}, "expand"),
        ({"properties": "x"}, "properties"),
        ([("limit", 1)], "options"),
        ("limit", "options"),
    ],
    ids=repr,
)
async def test_refused(master: Any, options: Any, named: str) -> None:
    """An unknown option, an unknown field, or a value of the wrong type: InvalidOptionError naming it."""
    await master.data.update.addChange()
    async with unchanged(master):
        for call in (master.data.get, master.data.snapshot):
            with pytest.raises(InvalidOptionError, match=named):
                await call(options, ("changes",))
        with pytest.raises(InvalidOptionError, match=named):
            await master.data.watch(lambda key, message: None, options, ("changes",))


@pytest.mark.parametrize(
    ("noun", "name", "value"),
    [
        ("builders", "masterids", 2**63),
        ("builders", "masterids", [1, -(2**70)]),
        ("builders", "masterids", "1"),
        ("builders", "masterids", True),
        ("forceschedulers", "builder_names", 1),
        ("forceschedulers", "builder_names", "nul\x00"),
    ],
)
async def test_refused_elements(state: Any, noun: str, name: str, value: Any) -> None:
    """A list in another table holds elements of one kind, too."""
    with pytest.raises(InvalidOptionError, match=name):
        await state.data.get({"filters": {f"{name}__contains": value}}, (noun,))


@pytest.mark.parametrize("option", ["filters", "order", "limit", "offset"])
async def test_single(master: Any, option: str) -> None:
    """Filters, orders and pages are of lists."""
    values = {"filters": {"author": "x"}, "order": ["author"], "limit": 1, "offset": 1}
    with pytest.raises(InvalidOptionError, match=option):
        await master.data.get({option: values[option]}, ("changes", 1))


async def test_both_truths_with_a_page(state: Any) -> None:
    """Of several values, any: true and false together is everything, and pages still count."""
    for number in range(3):
        await state.data.update.addChange(author=f"a{number}")
    await state.data.update.addBuildset(sourcestamps=[{}], builderNames=["a", "b", "c"])
    options = {"filters": {"complete__in": [True, False]}, "limit": 2, "offset": 1}
    found = await state.data.get(options, ("buildrequests",))
    assert len(found) == 2 and found.total == 3


@pytest.mark.parametrize("operator", ["lt", "le", "gt", "ge", "contains"])
async def test_truth_has_no_order(state: Any, operator: str) -> None:
    """Neither of true and false is less, and neither contains anything."""
    with pytest.raises(InvalidOptionError, match=f"complete.*{operator}"):
        await state.data.get({"filters": {f"complete__{operator}": True}}, ("builds",))


async def test_many_values(state: Any) -> None:
    """As many values as every database takes; more are refused before it is asked."""
    builderids = [await state.data.update.findBuilderId(name) for name in ("a", "b")]

    async def ask(filters: dict[str, Any]) -> list[int]:
        found = await state.data.get({"filters": filters}, ("builders",))
        return [each["builderid"] for each in found]

    most = range(1 - options.MAX_VALUES, 0)
    assert await ask({"builderid__eq": [*most, builderids[1]]}) == [builderids[1]]
    assert await ask({"name__in": ["b", *map(str, most)]}) == [builderids[1]]
    assert await ask({"name__contains": ["b", *map(str, range(options.MAX_PIECES - 1))]}) == [builderids[1]]
    half = list(range(options.MAX_VALUES // 2 + 1))
    for filters in (
        {"builderid__notin": [*most, 0, 0]},
        {"builderid__in": half, "builderid__eq": half},
        {"name__contains": ["b"] * (options.MAX_PIECES + 1)},
    ):
        with pytest.raises(InvalidOptionError, match=r"at most [0-9,]+ can be asked for at once"):
            await ask(filters)
