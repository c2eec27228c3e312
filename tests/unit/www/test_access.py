"""Which requests may show builds: all whose paths lead to builds, or to their steps, logs and data."""

from __future__ import annotations

import pytest

from buildbot.data.endpoints import Endpoints
from buildbot.resources import BY_PLURAL
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.authz.access import AccessRequest, Target, targets
from tests.support.building import add_build, run_build


def test_every_path_of_builds(master: FakeMaster) -> None:
    """A rule about builds covers each path of the Data API where builds are, or parts of them, and no other."""
    for endpoint in Endpoints(master.db).all:
        path = tuple("1" if ":" in part else part for part in endpoint.path.parts)
        below = any(each.build_by and each.plural in path for each in BY_PLURAL.values())
        shows = AccessRequest(path).shows_builds
        assert shows >= endpoint.of_builds, endpoint.path.pattern
        assert shows == (endpoint.of_builds or below), endpoint.path.pattern


@pytest.mark.parametrize("path", ["test_result_sets/1", "steps/1", "logs/1", "builds/1", "test_result_sets/1/results"])
async def test_whose_build(master: FakeMaster, path: str) -> None:
    """Everything below a build belongs to its builder, over any number of links."""
    await run_build(master, "b")
    builder = await master.data.get({}, ("builders", "b"))
    await master.data.update.addTestResultSet(builder["builderid"], 1, 1, "d", "c", "u")
    assert await targets(AccessRequest(tuple(path.split("/"))), master.data) == [Target("b")]


async def test_a_build_of_a_virtual_builder(master: FakeMaster) -> None:
    """It belongs to the builder that builds, too: another name is no way around a rule."""
    await add_build(master, "b", properties={"virtual_builder_name": ("v", "Trigger")})
    assert await targets(AccessRequest(("builds", "1"), "stop"), master.data) == [Target("v"), Target("b")]
    assert await targets(AccessRequest(("builders", "v", "builds", "1")), master.data) == [Target("v"), Target("b")]
    of_branch = [Target(name, None, "main", "") for name in ("v", "b")]
    assert await targets(AccessRequest(("builds", "1")), master.data, with_stamps=True) == of_branch
