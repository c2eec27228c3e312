"""Virtual builders: builds that are shown under a builder that properties of their buildset name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred, gatherResults

from buildbot.data.virtualbuilders import asked_for
from tests.support.building import STAMP
from tests.support.events import all_keys


def given(**words: Any) -> dict[str, tuple[Any, str]]:
    """Properties that ask for a virtual builder."""
    return {f"virtual_builder_{word}": (value, "Trigger") for word, value in words.items()}


async def build(state: Any, properties: Mapping[str, Any], builder: str = "linux") -> tuple[Any, Any]:
    """A build of a request with these properties, and the builder that it is shown under."""
    update = state.data.update
    _, brids = await update.addBuildset(sourcestamps=[STAMP], properties=properties, builderNames=[builder])
    assert await update.claimBuildRequests([brids[builder]])
    buildid = await update.newBuild(brids[builder])
    row = await state.data.get({}, ("builds", buildid))
    return row, await state.data.get({}, ("builders", row["builderid"]))


async def test_made_with_its_first_build(state: Any) -> None:
    """Its builds are numbered by itself; no master runs it; what is not said of it is as with the one that builds."""
    projectid = await state.data.update.find_project_id("ours")
    described = {"name": "linux", "description": "*d*", "description_format": "markdown", "projectid": projectid}
    ids = await state.data.update.setBuilders([{**described, "tags": ["real"]}])
    (listener,) = await all_keys(state, 3)
    first, builder = await build(state, given(name="of ☃", tags=["a", "b"]))
    second, _ = await build(state, given(name="of ☃", tags=["a", "b"]))
    own, _ = await build(state, {})
    assert (first["number"], second["number"], own["number"]) == (1, 2, 1)
    assert own["builderid"] == ids["linux"] != first["builderid"]
    assert {key: builder[key] for key in ("name", "masterids", "projectid", "tags", "description")} == {
        "name": "of ☃",
        "masterids": [],
        "projectid": projectid,
        "tags": ["a", "b", "_virtual_"],
        "description": "*d*",
    }
    request = await state.data.get({}, ("buildrequests", first["buildrequestid"]))
    assert request["builderid"] == ids["linux"]
    found = await state.data.get({}, ("builders", builder["builderid"], "builds"))
    assert [each["buildid"] for each in found] == [first["buildid"], second["buildid"]]
    await listener.until(await state.data.clock())
    ((key, message),) = [(key, message) for key, message in listener.heard if key[0] == "builders"]
    assert key == ("builders", str(builder["builderid"]), "update")
    assert message == {name: builder[name] for name in message}


async def test_described_anew(state: Any) -> None:
    """The newest build says how it is described; projects are made on first use. One tag need not be in a list."""
    await build(state, given(name="v", tags=["a"]))
    (listener,) = await all_keys(state, 3)
    _, builder = await build(state, given(name="v", description="D", project="new", tags="b"))
    assert (builder["description"], builder["tags"]) == ("D", ["b", "_virtual_"])
    project = await state.data.get({}, ("projects", builder["projectid"]))
    assert project["name"] == "new"
    await listener.until(await state.data.clock())
    ((key, message),) = [(key, message) for key, message in listener.heard if key[0] == "builders"]
    assert key[2] == "update" and message == {name: builder[name] for name in message}


async def test_a_builder_of_the_configuration(state: Any) -> None:
    """What a master runs is no virtual builder: the build is shown under the builder that builds."""
    ids = await state.data.update.setBuilders([{"name": "linux"}, {"name": "windows", "tags": ["real"]}])
    row, _ = await build(state, given(name="windows"))
    assert row["builderid"] == ids["linux"]
    row, builder = await build(state, given(name="linux"))
    assert row["builderid"] == ids["linux"] and builder["tags"] == []
    windows = await state.data.get({}, ("builders", ids["windows"]))
    assert windows["tags"] == ["real"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"name": 5}, "virtual_builder_name"),
        ({"name": " "}, "virtual_builder_name must not be empty"),
        ({"name": "v", "description": ["x"]}, "virtual_builder_description"),
        ({"name": "v", "project": "no such/name"}, "virtual_builder_project"),
        ({"name": "v", "tags": [1]}, "virtual_builder_tags"),
        ({"name": "v", "tags": 1}, "virtual_builder_tags"),
    ],
)
async def test_what_cannot_be(state: Any, words: dict[str, Any], said: str) -> None:
    """Properties that describe no builder name the property; the build is shown under the builder that builds."""
    with pytest.raises(ValueError, match=said):
        asked_for(given(**words))
    _, builder = await build(state, given(**words))
    assert builder["name"] == "linux"


async def test_not_asked_for(state: Any) -> None:
    """Without the property with its name there is none, whatever else speaks of it."""
    properties = {**given(name=None, tags=["a"]), "other": ('"virtual_builder_name"', "Force")}
    assert asked_for(properties) is None
    _, builder = await build(state, properties)
    assert builder["name"] == "linux"


async def test_masters_that_make_it_at_once(state: Any, second_master: Any) -> None:
    """Builds that begin at once, on several masters, make one builder, and their numbers count up."""
    masters = [state, second_master] * 6
    begun = await gatherResults(
        [
            ensureDeferred(build(master, given(name=f"v{number % 3}", tags=[f"t{number}"], project=f"p{number % 2}")))
            for number, master in enumerate(masters)
        ]
    )
    numbers: dict[int, list[int]] = {}
    for row, _ in begun:
        numbers.setdefault(row["builderid"], []).append(row["number"])
    assert sorted(map(sorted, numbers.values())) == [[1, 2, 3, 4]] * 3
    known = [each for each in await state.data.get({}, ("builders",)) if each["builderid"] in numbers]
    assert sorted(each["name"] for each in known) == ["v0", "v1", "v2"]
