"""The examples in docs/extending.md run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)


@pytest.mark.parametrize(
    "example",
    EXAMPLES,
    ids=["step", "scheduler", "change source", "worker on demand", "reporter", "secret provider", "hook"],
)
def test_example(example: str, tmp_path: Path) -> None:
    """Each is a test that passes."""
    (tmp_path / "test_mine.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "twisted.trial", "test_mine"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
