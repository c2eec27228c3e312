"""Source steps with a real agent; `tests/unit/steps/source` tests them with repositories and servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildbot.steps.shell import ShellCommand
from buildbot.steps.source.git import Git
from buildbot.steps.source.p4 import P4
from buildbot.steps.source.svn import SVN
from buildbot.util.results import SUCCESS
from tests.e2e.agents import Farm, Repository
from tests.support.git_servers import git_over_http, sshd
from tests.support.p4 import Perforce
from tests.support.reactor import run
from tests.support.svn import SvnRepository, svnserve

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


async def test_passwords(farm: Farm, tmp_path: Path) -> None:
    """An agent hands them on in files, input and environment; logs of the build do not show them.

    Nor does the agent's own log with PB. With msgpack the agent logs all messages that it gets.
    """
    repository, svn, p4 = (
        Repository(tmp_path / "repository"),
        SvnRepository(tmp_path / "svn"),
        Perforce(tmp_path / "p4"),
    )
    with git_over_http(tmp_path, "t0ken", "") as git, svnserve(svn, "jo", "s3cret") as address:
        url = git.url(repository.path).replace("://", "://t0ken@")
        await farm.start(
            Git(repourl=url),
            SVN(repourl=f"{address}/trunk", username="jo", password="s3cret", workdir="svn"),
            P4(p4base="//depot", p4passwd="s3cret", p4bin=str(p4.path), workdir="p4"),
            ShellCommand(command="git ls-remote -q"),
        )
        farm.agent()
        await farm.connected()
        for _ in range(2):
            buildid = await farm.build()
            await farm.ended()
            rows = farm.master.steps(buildid)[1:]
            assert farm.master.build(buildid)["results"] == SUCCESS, [row["state_string"] for row in rows]
            logs = "".join(farm.master.text(row["stepid"]) for row in rows)
            assert "fetch" in logs and "s3cret" not in logs and "t0ken" not in logs
    assert p4.passwords[-1] == "s3cret"
    log = (tmp_path / "w1" / "twistd.log").read_text()
    assert "svn checkout" in log and ("s3cret" in log or "t0ken" in log) == (farm.protocol != "pb")
