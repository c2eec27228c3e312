"""The examples of docs/login.md, docs/hooks.md and docs/dashboards.md are configurations that work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.www import check_www
from buildbot.plugins import util

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str) -> list[str]:
    """The indented blocks of a page."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()).strip() for block in found]


def examples(name: str) -> list[str]:
    """The indented blocks of a page that are Python."""
    return [text for text in blocks(name) if text.startswith(("from ", "c[", "class ", "directory "))]


@pytest.mark.parametrize("text", [*examples("login.md"), *examples("hooks.md"), *examples("dashboards.md")])
def test_example(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, and its settings are taken without an error or a warning."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hooks.passwd").write_text("joe:secret\n")
    c: dict[str, Any] = {"www": {}}
    exec(text, {"c": c, "util": util})
    said: list[str] = []
    check_www(c["www"], said.append, said.append)
    assert said == []


def test_names() -> None:
    """Every name of ``util`` that the pages mention is there."""
    for name in ("login.md", "hooks.md", "dashboards.md"):
        for each in re.findall(r"`util\.(\w+)", (DOCS / name).read_text(encoding="utf-8")):
            assert getattr(util, each), each
