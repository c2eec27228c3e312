"""Reports of workers that are missing."""

from __future__ import annotations

from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument
from buildbot.process.configured import Configured
from buildbot.reporters.message import MessageFormatterMissingWorker
from buildbot.util.deferreds import deferred, resolved


def _workers(value: Any) -> Any:
    if value == "all":
        return value
    try:
        return checks.list_of(checks.name)(value)
    except ValueError:
        raise ValueError(f"must be 'all' or a list of names, not {checks.kind(value)}") from None


def _formatter(value: Any) -> Any:
    if value is not None and not hasattr(value, "formatMessageForMissingWorker"):
        raise ValueError(f"must be a formatter such as reporters.MessageFormatterMissingWorker(), "
                         f"not {checks.kind(value)}")  # fmt: skip
    return value


class WorkerMissingGenerator(Declared, Configured):
    """Reports workers that have been missing for longer than their ``missing_timeout``."""

    positional = ("workers", "message_formatter")
    wanted_event_keys = [("workers", None, "missing")]

    workers = argument("all", _workers, doc="names of workers, or `all`")
    message_formatter = argument(
        None, _formatter, doc="makes subject and body; None: `MessageFormatterMissingWorker()`"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.formatter = MessageFormatterMissingWorker() if self.message_formatter is None else self.message_formatter

    def check(self) -> None:
        """Nothing is left to check."""

    def generate_name(self) -> str:
        """The name of the class with those of the workers."""
        return f"{type(self).__name__}_{self.workers if self.workers == 'all' else '+'.join(self.workers)}"

    @deferred
    async def generate(self, master: Any, reporter: Any, key: tuple[str, ...], worker: dict[str, Any]) -> Any:
        """The report of an event, or None; Deferred."""
        if self.workers != "all" and worker["name"] not in self.workers:
            return None
        made = await resolved(self.formatter.formatMessageForMissingWorker(master, worker))
        return {
            "body": made["body"],
            "subject": made["subject"],
            "type": made["type"],
            "results": None,
            "builds": None,
            "buildset": None,
            "users": list(worker.get("notify", ())),
            "patches": None,
            "logs": None,
            "worker": worker["name"],
        }
