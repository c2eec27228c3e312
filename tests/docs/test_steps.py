"""The examples in docs/steps.md are configurations that the master takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "steps.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example: str) -> None:
    """Each makes a factory, whose steps can be made for a build."""
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["factory"].make_steps()
