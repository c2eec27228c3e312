"""A process that takes commands as JSON lines and answers in the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class ActorError(Exception):
    """An actor failed; the message is its traceback."""


class Process:
    """A process that was started just now.

    Attributes:
        name: how tables call it.
    """

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory, env=environment()
        )

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def ask(self, **command: Any) -> dict[str, Any]:
        """The answer to a command. Raises ActorError."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """What it says next. Raises ActorError."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ActorError(f"{self.name} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ActorError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def python(module: str, *arguments: str) -> list[str]:
    """A command that runs a module of this checkout."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Nothing that would change which packages are found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSTARTUP")}
