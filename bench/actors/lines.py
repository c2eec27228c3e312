"""The protocol of actors: a JSON object per line on standard input, one per line back."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TextIO


class Lines:
    """The actor's end. Whatever else is printed goes to standard error."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def commands(self) -> Iterator[dict[str, Any]]:
        """Commands until the other side closes; blocks while there is none."""
        for line in sys.stdin:
            yield json.loads(line)

    def reply(self, result: dict[str, Any]) -> None:
        """Answer a command."""
        self._out.write(json.dumps(result) + "\n")
        self._out.flush()

    def fail(self, error: BaseException) -> None:
        """Answer a command that failed."""
        self.reply({"error": "".join(traceback.format_exception(error))})
