"""Dictionaries of connectors and of the Data API are what their types say (resources)."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from buildbot.resources import RESOURCES
from tests.support.building import run_build


def check(value: Any, expected: Any, where: str) -> None:
    """The value is of the type, all the way down."""
    if isinstance(expected, UnionType):
        fitting = [one for one in get_args(expected) if (one is NoneType) == (value is None)]
        return check(value, fitting[0], where)
    if is_typeddict(expected):
        types = get_type_hints(expected)
        assert set(value) == set(types), where
        for name, inner in types.items():
            check(value[name], inner, f"{where}.{name}")
        return None
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is not Any:
        assert isinstance(value, origin or expected), f"{where}: {value!r}"
        assert not (expected is int and isinstance(value, bool)), where
    if origin is list:
        for element in value:
            check(element, arguments[0], f"{where}[]")
    elif origin is dict:
        for element in value.values():
            check(element, arguments[1], f"{where}{{}}")
    return None


async def fill(state: Any) -> dict[str, Any]:
    """Something of every noun; the connectors' dictionaries by noun."""
    update, db, masterid = state.data.update, state.db, state.masterid
    running = await run_build(state)
    changeid = await update.addChange(author="a", files=["f"], properties={"p": 1})
    await update.findWorkerId("w")
    schedulerid = await update.findSchedulerId("s")
    await update.setSchedulerMaster(schedulerid, masterid)
    await update.setForceScheduler(
        schedulerid, {"button_name": "b", "label": "l", "builder_names": ["linux"], "all_fields": [{}]}
    )
    sourceid = await db.changesources.findChangeSourceId("c")
    await db.changesources.setChangeSourceMaster(sourceid, masterid)
    projectid = await update.find_project_id("p")
    codebaseid = await update.find_codebase_id(projectid=projectid, name="c")
    await update.add_commit(codebaseid=codebaseid, author="", comments="", revision="r")
    await update.update_branch(codebaseid=codebaseid, name="b")
    await update.setBuildData(running.buildid, "n", b"", "s")
    build = await db.builds.getBuild(running.buildid)
    setid = await update.addTestResultSet(build["builderid"], running.buildid, running.stepid, None, "c", "u")
    await update.addTestResults(build["builderid"], setid, [{"test_name": "t", "value": "1"}])
    request = await db.buildrequests.getBuildRequest(running.brid)
    buildset = await db.buildsets.getBuildset(running.bsid)
    return {
        "build": build,
        "buildrequest": request,
        "buildset": buildset,
        "change": await db.changes.getChange(changeid),
        "sourcestamp": (await db.sourcestamps.getSourceStamps(buildset["sourcestampsetid"]))[0],
        "master": await db.masters.getMaster(masterid),
        "scheduler": await db.schedulers.getScheduler(schedulerid),
        "changesource": await db.changesources.getChangeSource(sourceid),
        "builder": await db.builders.getBuilder(build["builderid"]),
        "log": await db.logs.getLog(running.logid),
    }


async def test_connectors(state: Any) -> None:
    """A connector's dictionary has exactly the keys of its type, with values of its types."""
    found = await fill(state)
    typed = {resource.name: resource.db_entity for resource in RESOURCES if resource.db_entity is not None}
    assert set(found) == set(typed)
    for name, entity in typed.items():
        check(dict(found[name]), entity, name)


async def test_data_api(state: Any) -> None:
    """So has the Data API's, beside its links."""
    await fill(state)
    seen = set()
    for resource in RESOURCES:
        for path in resource.paths:
            variables = {name: found for name, found in await values(state) if name in path.variables}
            if path.is_single or set(path.variables) - set(variables):
                continue
            parts = [variables[p.split(":")[1]] if ":" in p else p for p in path.parts]
            for entity in await state.data.get({}, tuple(parts)):
                seen.add(resource.name)
                plain = {
                    name: entity[name] for name in entity if name not in set(resource.links) - set(resource.fields)
                }
                check(plain, resource.entity, resource.name)
    assert seen == {resource.name for resource in RESOURCES}


async def values(state: Any) -> list[tuple[str, Any]]:
    """Values for the variables of paths at which there is something."""
    (build,) = await state.data.get({}, ("builds",))
    (step,) = await state.data.get({}, ("builds", build["buildid"], "steps"))
    (found,) = await state.data.get({}, ("test_result_sets",))
    (codebase,) = await state.data.get({}, ("codebases",))
    return [
        ("buildid", build["buildid"]),
        ("stepid", step["stepid"]),
        ("test_result_setid", found["test_result_setid"]),
        ("codebaseid", codebase["codebaseid"]),
    ]
