"""``buildbot sendchange`` and the defaults that people keep; `tests/unit/changes/test_pb.py` has what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from buildbot.scripts import sendchange


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The sent change as ``(host, port, user, password, change)``, from a tree with a file of options."""
    calls: list[Any] = []
    monkeypatch.setattr(sendchange, "ask", lambda *args: calls.append((*args[:4], args[5])))  # without the method
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / ".buildbot").mkdir()
    return calls


def options(text: str) -> None:
    """Write the file."""
    Path(".buildbot/options").write_text(text)


@pytest.mark.parametrize(("text", "arguments", "found"), [
    ("master = 'ci:9989'; who = 'ann'; branch = 'b'; auth = 'u:p'", [], ("ci", 9989, "u", "p", "ann", "b")),
    ("master = 'ci:9989'; username = 'joe'", [], ("ci", 9989, "change", "changepw", "joe", None)),
    ("username = 'joe'; who = 'ann'; try_branch = 't'", ["-m", "h:1"], ("h", 1, "change", "changepw", "ann", None)),
    ("who = 'ann'; username = 'joe'; master = 'ci:1'; branch = None", ["-W", "zoe", "-b", "x"],
     ("ci", 1, "change", "changepw", "zoe", "x")),
])  # fmt: skip
def test_defaults(sent: list[Any], text: str, arguments: list[str], found: Any) -> None:
    """``.buildbot/options`` has defaults, which the command line overrides; names of other commands are ignored."""
    options(text)
    result = CliRunner().invoke(sendchange.command, [*arguments, "file.c"])
    assert result.exit_code == 0, result.output
    ((host, port, user, password, change),) = sent
    assert (host, port, user, password, change["who"], change["branch"]) == found
    assert change["files"] == ["file.c"]


@pytest.mark.parametrize(("text", "said"), [
    ("who = 3", "who must be a text, not 3"),
    ("vc = 'rcs'; who = 'a'; master = 'h:1'", "'rcs' is not one of"),
    ("who = 'a'", "Missing option"),
    ("who = x", "NameError"),
])  # fmt: skip
def test_wrong_defaults(sent: list[Any], text: str, said: str) -> None:
    """Nothing is sent, and the error names the mistake."""
    options(text)
    result = CliRunner().invoke(sendchange.command, [])
    assert result.exit_code != 0 and said in result.output
    assert sent == []
