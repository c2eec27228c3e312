"""docs/reference says what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_up_to_date() -> None:
    """The pages are what script/reference.py makes of the docstrings now."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "script" / "reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
