"""Commands are quick because they import little."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("sqlalchemy", "alembic", "buildbot.config", "buildbot.www", "buildbot.process", "OpenSSL")
PROGRAM = """
import sys
from buildbot.scripts import daemon, failures, main, start, stop
print(*(name for name in {heavy!r} if name in sys.modules))
"""


def test_start_and_stop_import_neither_database_nor_configuration() -> None:
    """``start`` and ``stop`` leave both to the master's process, and read of errors only where there is one."""
    command = [sys.executable, "-c", PROGRAM.format(heavy=HEAVY)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "\n"
