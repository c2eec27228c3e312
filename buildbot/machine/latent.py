"""The base of machines on demand, whose subclasses start and stop a machine."""

from __future__ import annotations

from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.machine.base import Machine


class AbstractLatentMachine(Machine):
    """A machine that is started when a build needs one of its workers, and stopped when none does.

    Subclasses override `start_machine` and `stop_machine`. The engine calls one of them at a time, and a
    `stop_machine` follows every `start_machine`, also one that failed.
    """

    build_wait_timeout = argument(
        0,
        checks.number(float("-inf")),
        doc="""seconds that the machine runs on after its last worker does not need it any more; 0: it is stopped at
        once; below 0: it runs until the master stops""",
    )
    missing_timeout = argument(
        20 * 60,
        checks.positive,
        doc="""seconds that its start may take, and within which the agents of its workers must log in (the instances of
        workers on demand start)""",
    )

    def start_machine(self) -> Any:
        """Start the machine; its workers may come later.

        Returns:
            True, or False if it could not be started; also by a Deferred or coroutine.

        Raises:
            Exception: it could not be started; the text says why.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its machine is started")

    def stop_machine(self) -> Any:
        """Stop the machine, also one whose start failed.

        Returns:
            True, or False if it may still run; also by a Deferred or coroutine.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its machine is stopped")
