"""The Git step with a real agent; `tests/unit/steps/source` has what it does with repositories and servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildbot.steps.shell import ShellCommand
from buildbot.steps.source.git import Git
from buildbot.util.results import SUCCESS
from tests.e2e.agents import Farm, Repository
from tests.support.git_servers import sshd
from tests.support.reactor import run

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["pb", "msgpack_experimental_v7"])
def farm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Farm]:
    farm = Farm(tmp_path, request.param)
    yield farm
    run(farm.stop())


async def test_git_over_ssh(farm: Farm, tmp_path: Path) -> None:
    """An agent gets the key, checks out, applies a patch and copies; the key is gone, and was in no log."""
    repository = Repository(tmp_path / "repository")
    body = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+patched\n"
    with sshd(tmp_path / "ssh") as server:
        arguments = {"sshPrivateKey": server.key, "sshHostKey": server.host_key}
        await farm.start(
            Git(repourl=server.url(repository.path), mode="full", method="copy", **arguments),
            ShellCommand(command="cat file; touch .git/index.lock ../source/.git/index.lock"),
        )
        farm.agent()
        await farm.connected()
        patch = {"patch_level": 1, "patch_subdir": ".", "patch_author": "Jo", "patch_comment": "no"}
        for _ in range(2):  # the second time over locks
            buildid = await farm.build(patch_body=body, **patch)
            await farm.ended()
            git = farm.master.steps(buildid)[1]
            assert farm.master.build(buildid)["results"] == SUCCESS, git["state_string"]
            assert git["state_string"] == f"update {repository.second[:10]}"
            assert "opatched\n" in farm.master.text(3 * buildid)
            assert not [each for each in (tmp_path / "w1").iterdir() if each.name.endswith(".buildbot")]
            assert not any(line in farm.master.text(3 * buildid - 1) for line in server.key.splitlines())
