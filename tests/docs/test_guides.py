"""The examples of the guides are configurations without mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildbot.config.loader import load_config

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ("cancelling.md", "forms.md", "locks.md", "properties.md", "triggers.md", "try.md")


def examples() -> list[tuple[str, str]]:
    """The indented blocks of the guides that are whole configurations, each with its guide."""
    found = []
    for guide in GUIDES:
        blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", (DOCS / guide).read_text(encoding="utf-8"), re.MULTILINE)
        texts = ["\n".join(line[4:] for line in block.splitlines()) for block in blocks]
        found += [(guide, text) for text in texts if 'c["builders"]' in text]
    return found


@pytest.mark.parametrize(("guide", "text"), examples())
def test_example(guide: str, text: str, tmp_path: Path) -> None:
    """Each is read without an error or a warning."""
    (tmp_path / "master.cfg").write_text(f"c = BuildmasterConfig = {{}}\n{text}\n")
    assert load_config(tmp_path, "master.cfg").warnings == ()
