"""The examples in docs/source-steps.md and docs/change-sources.md are configurations without a mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildbot.config.loader import load_config

GUIDES = ("source-steps.md", "change-sources.md")
EXAMPLES = [
    pytest.param(example, id=f"{guide} {number}")
    for guide in GUIDES
    for number, example in enumerate(
        re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / guide).read_text(), re.S), 1
    )
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example: str, tmp_path: Path) -> None:
    """Each is a whole master.cfg that loads."""
    (tmp_path / "master.cfg").write_text(example)
    assert load_config(tmp_path)
