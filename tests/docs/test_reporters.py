"""The examples of docs/reporters.md are configurations that work."""

from __future__ import annotations

from typing import Any

from buildbot.plugins import reporters
from tests.docs.test_login import DOCS, blocks


def test_examples() -> None:
    """They run one after the other."""
    names: dict[str, Any] = {"c": {}}
    for text in blocks("reporters.md"):
        exec(text, names)
    assert names["c"]["services"]


def test_all_names() -> None:
    """The page names every reporter, generator and formatter that there is."""
    text = (DOCS / "reporters.md").read_text(encoding="utf-8")
    for name in dir(reporters):
        assert name in text or name == "ReporterBase", name
