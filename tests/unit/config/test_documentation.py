"""docs/configuration.md and the code name the same keys."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from buildbot.config import BuilderConfig
from buildbot.config.keys import KEYS
from buildbot.config.www import KEYS as WWW_KEYS

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading, up to the next."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(text: str) -> dict[str, str]:
    """First and last cell of each row of the tables, by name; several names may share a row."""
    table = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            for name in re.findall(r"`(\w+)`", cells[0]):
                table[name] = cells[-1].removesuffix(" |").strip()
    return table


def test_keys() -> None:
    """Every key is in the right table for its effect, with its meaning."""
    for title, has_effect in (("Keys that have an effect", True), ("Keys that are accepted", False)):
        expected = {key.name: key.meaning for key in KEYS.values() if key.has_effect is has_effect}
        assert rows(section(title)) == expected


def test_www() -> None:
    """The same for the web server's keys."""
    text = section('The web server: keys of `c["www"]`')
    assert rows(text) == {name: meaning for name, (_, meaning) in WWW_KEYS.items() if meaning}
    accepted = text[text.index("Accepted without effect") :]
    assert set(re.findall(r"`(\w+)`", accepted)) == {name for name, (_, meaning) in WWW_KEYS.items() if not meaning}


def test_builder() -> None:
    """Every argument of a builder is described."""
    arguments = set(inspect.signature(BuilderConfig).parameters) - {"unknown"}
    assert set(rows(section("Builders: arguments of `util.BuilderConfig`"))) == arguments
