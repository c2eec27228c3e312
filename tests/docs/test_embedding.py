"""The programs in docs/embedding.md run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "embedding.md"
PROGRAMS = [block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S) if "import" in block]


@pytest.mark.parametrize("program", PROGRAMS, ids=["twisted", "asyncio"])
def test_program(program: str, tmp_path: Path) -> None:
    """It ends well, and says what was stored."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("{'changeid': 1", "[]"))
