"""The P4 step with an imitation of p4, which is not free software."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps
from buildbot.process.properties import Property
from buildbot.steps.source.p4 import P4
from buildbot.util.results import FAILURE, SUCCESS
from tests.support.local_worker import LocalFarm, built
from tests.support.p4 import Perforce


@pytest.fixture
def p4(tmp_path: Path) -> Perforce:
    return Perforce(tmp_path / "p4")


async def test_sync(farm: LocalFarm, p4: Perforce) -> None:
    """The client is made, and synced to the newest change of its view. The password is no argument, and not logged."""
    await farm.start(
        P4(p4base="//depot/a b", p4branch="main", p4port="h:1", p4user="jo", p4passwd=Property("password"),
           p4extra_views=[("//depot/lib", "lib")], p4bin=str(p4.path), debug=True)
    )  # fmt: skip
    assert await built(farm, properties={"password": ("s3cret", "Force")}) == (SUCCESS, "update 17")
    assert farm.master.build(1)["properties"]["got_revision"] == ("17", "P4")
    client = "-p h:1 -u jo -c buildbot_w1_runtests"
    version, *calls = p4.calls
    assert version == f"{client} -V"
    tree = "//buildbot_w1_runtests/..."
    assert calls == [f"{client} client -i", f"{client} -ztag changes -m1 {tree}#head", f"{client} sync {tree}@17"]
    assert p4.passwords == ["", "s3cret", "s3cret", "s3cret"]
    assert p4.got("client") == (
        "Client: buildbot_w1_runtests\n\nOwner: jo\n\nDescription:\n\tCreated by jo\n\n"
        f"Root:\t{farm.directory}\n\nOptions:\tallwrite rmdir\n\nLineEnd:\tlocal\n\n"
        'View:\n\t"//depot/a b/main/..." //buildbot_w1_runtests/...\n\t//depot/lib/... //buildbot_w1_runtests/lib/...\n'
    )
    assert "s3cret" not in farm.master.text(2) and "PATH=" in farm.master.text(2)


async def test_a_password_that_looks_like_a_variable(farm: LocalFarm, p4: Perforce) -> None:
    """A worker would replace ``${NAME}`` in a variable, so such a password is an argument; logs do not show it."""
    await farm.start(P4(p4base="//depot", p4passwd="s3${HOME}cret", p4bin=str(p4.path)))
    assert await built(farm) == (SUCCESS, "update 17")
    assert all(each.startswith("-P s3${HOME}cret -c ") for each in p4.calls)
    assert "cret" not in farm.master.text(2) and "XXXXXX" in farm.master.text(2)


async def test_full(farm: LocalFarm, p4: Perforce) -> None:
    """In full mode, and after a patch, all files are synced anew; tickets need the password once."""
    farm.directory.mkdir(parents=True)
    (farm.directory / "file").write_text("old\n")
    await farm.start(
        P4(p4viewspec=[("//depot/", ""), ("-//depot/x", "x")], p4passwd="pw", use_tickets=True, mode=Property("mode"),
           p4client="c", p4bin=str(p4.path), p4extra_args=["-Zproxyload"])
    )  # fmt: skip
    mode = {"mode": ("full", "Force")}
    assert await built(farm, revision="12", properties=mode) == (SUCCESS, "update 17")
    assert p4.got("login") == "pw\n"
    assert p4.calls[1:] == [
        "-c c client -i", "-c c -ztag changes -m1 //c/...@12", "-c c -Zproxyload sync #none",
        "-c c -Zproxyload sync //c/...@17",
    ]  # fmt: skip
    assert p4.got("client").endswith("View:\n\t//depot/... //c/...\n\t-//depot/x... //c/x...\n")
    assert not (farm.directory / "file").exists()
    farm.directory.mkdir(exist_ok=True)
    (farm.directory / "file").write_text("two\n")
    body = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+patched\n"
    patch = {"patch_level": 1, "patch_subdir": "", "patch_author": "Jo", "patch_comment": "no"}
    mode = {"mode": ("incremental", "Force")}
    assert (await built(farm, patch_body=body, properties=mode, **patch))[0] == SUCCESS
    assert (farm.directory / "file").read_text() == "patched\n"
    assert (await built(farm, properties=mode))[0] == SUCCESS
    assert not (farm.directory / "file").exists()


async def test_failures(farm: LocalFarm, p4: Perforce) -> None:
    """Errors of p4, a missing change, and a wrong revision fail the step with a text."""
    await farm.start(P4(p4base="//depot", p4branch="s", stream=True, p4client_type="readonly", p4bin=str(p4.path)))
    p4.says("broken", "")
    assert await built(farm) == (FAILURE, "p4 sync: Perforce client error: connect failed. (failure)")
    assert p4.got("client").endswith("Type:\treadonly\n\nStream:\t//depot/s\n")
    p4.says("head", "")
    text = "there is no change in //buildbot_w1_runtests/...@5 (failure)"
    assert await built(farm, revision="5") == (FAILURE, text)
    for revision in ("1,#head", "-5", "a b", "x@y"):
        assert (await built(farm, revision=revision))[1].startswith("not the number of a change, nor a label: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "P4: give p4base or p4viewspec"),
        (
            {"p4base": "//d", "p4viewspec": [("a", "b")]},
            "give either p4viewspec, or p4base, p4branch and p4extra_views",
        ),
        ({"p4base": "//d", "stream": True}, "stream needs a p4branch"),
        ({"p4base": "//d", "p4branch": "b", "stream": True, "p4extra_views": [("a", "b")]}, "a stream has neither"),
        ({"p4base": "depot"}, "p4base must begin with '//', not 'depot'"),
        ({"p4base": "//d/"}, "p4base must not end with a slash"),
        ({"p4base": "//d", "p4line_end": "dos"}, "p4line_end must be one of 'local'"),
        ({"p4base": "//d", "p4extra_views": [("a",)]}, "p4extra_views must be a list of pairs"),
        ({"p4base": "//d", "use_tickets": True}, "use_tickets needs a p4passwd"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        P4(**arguments)


def test_plugin_name() -> None:
    assert steps.P4 is P4
