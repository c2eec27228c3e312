"""What a branch has changed; the diffs are real ones of Git."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildbot.steps.gitdiffinfo import GitDiffInfo, changed_files
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS


def git(path: Path, *args: str) -> str:
    who = ["-c", "user.name=Jo", "-c", "user.email=jo@example.org", "-c", "init.defaultBranch=main"]
    env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
    return subprocess.run(["git", "-C", path, *who, *args], check=True, capture_output=True, text=True, env=env).stdout


def hunk(ss: int, sl: int, ts: int, tl: int) -> dict[str, int]:
    return {"ss": ss, "sl": sl, "ts": ts, "tl": tl}


def test_changed_files(tmp_path: Path) -> None:
    """Files that are changed, new, removed, renamed or binary, with names of any kind and content like a diff."""
    git(tmp_path, "init", "-q")
    for name, content in (
        ("changed", "1\n2\n3\n4\n"), ("removed", "x\n"), ("old name", "a\nb\nc\nd\n"), ("bin", "\0"), ("like", "-- a\n")
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "changed").write_text("1\n2b\n3\n4\n5\n")
    (tmp_path / "removed").unlink()
    (tmp_path / "old name").rename(tmp_path / 'n\u00fc\t"w"')
    (tmp_path / "bin").write_text("\0\0")
    (tmp_path / "like").write_text("++ b\n@@ -1 +1 @@\n")
    (tmp_path / "empty file").write_text("")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "second")
    found = changed_files(git(tmp_path, "diff", "--no-prefix", "-U0", "HEAD~", "HEAD"))
    named = {each["source_file" if each["target_file"] == "/dev/null" else "target_file"]: each for each in found}
    odd = 'n\u00fc\t"w"'
    assert named == {
        "changed": {"source_file": "changed", "target_file": "changed", "is_binary": False, "is_rename": False,
                    "hunks": [hunk(2, 1, 2, 1), hunk(4, 0, 5, 1)]},
        "removed": {"source_file": "removed", "target_file": "/dev/null", "is_binary": False, "is_rename": False,
                    "hunks": [hunk(1, 1, 0, 0)]},
        odd: {"source_file": "old name", "target_file": odd, "is_binary": False, "is_rename": True, "hunks": []},
        "bin": {"source_file": "bin", "target_file": "bin", "is_binary": True, "is_rename": False, "hunks": []},
        "like": {"source_file": "like", "target_file": "like", "is_binary": False, "is_rename": False,
                 "hunks": [hunk(1, 1, 1, 2)]},
        "empty file": {"source_file": "/dev/null", "target_file": "empty file", "is_binary": False, "is_rename": False,
                       "hunks": []},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("failing", "results", "ran"), [(None, SUCCESS, 2), ("merge-base", FAILURE, 1), ("diff", FAILURE, 2)]
)
async def test_step(failing: str | None, results: int, ran: int) -> None:
    """What was changed since the branches parted becomes build data; where that is, a property."""

    def script(name: str, args: dict[str, Any]) -> Any:
        what = args["command"][1]
        output = "abc\n" if what == "merge-base" else "diff --git a a\n@@ -1 +1 @@\n-x\n+y\n"
        return [("stdout", output)], int(what == failing)

    farm = StepHarness(GitDiffInfo(compareToRef="main", dataName="d"), script=script)
    await farm.run()
    assert [args["command"] for _, args in farm.connection.started] == [
        ["git", "merge-base", "HEAD", "main"], ["git", "diff", "--no-prefix", "-U0", "abc", "HEAD"]
    ][:ran]  # fmt: skip
    assert farm.master.steps(1)[1]["results"] == results
    if results == SUCCESS:
        assert farm.master.build(1)["properties"]["diffinfo-merge-base-commit"] == ("abc", "GitDiffInfo")
        (file,) = json.loads(farm.master.get("builds", 1, "data", "d", "value")["value"])
        assert (file["source_file"], file["hunks"]) == ("a", [hunk(1, 1, 1, 1)])


async def test_names_that_are_options() -> None:
    """A branch that Git would take for an option is refused."""
    farm = StepHarness(GitDiffInfo(compareToRef="--output=/x"))
    await farm.run()
    assert farm.master.steps(1)[1]["results"] == EXCEPTION and farm.connection.started == []
