"""The base of reporters: generators make reports of events, `sendMessage` sends them, a queue repeats failures."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.db.exceptions import is_unavailable
from buildbot.process.service import DeclaredService
from buildbot.reporters import utils
from buildbot.reporters.delivery import Delivery, ServiceQueue
from buildbot.util.deferreds import deferred, resolved

_log = Logger()

#: seconds by which a receiver's clock may be slow
_CLOCKS_DIFFER_S = 600


def _generators(value: Any) -> Any:
    if value is None:
        return None
    found = checks.sequence(value)
    for number, each in enumerate(found, 1):
        if not hasattr(each, "generate") or not hasattr(each, "wanted_event_keys"):
            example = "a generator such as reporters.BuildStatusGenerator()"
            raise ValueError(f"element {number} must be {example}, not {checks.kind(each)}")
    return found


class ReporterBase(DeclaredService):
    """The base of reporters; a subclass implements `sendMessage`.

    Each generator may make a report of an event; `sendMessage` is called with all reports of one event. Its errors are
    logged. After an error of the network, or `buildbot.reporters.delivery.SendLater`, the reports are made and sent
    again later, also after a restart; after another error they are given up, since they would fail again. See
    `buildbot.reporters.delivery`.

    Attributes:
        generators: those of the configuration, or of `default_generators`.
        master: the master that it runs in.
    """

    positional: ClassVar[tuple[str, ...]] = ("generators",)

    generators: Any = argument(
        None, _generators, doc="the generators, which say what is reported, and when; None: the reporter's own"
    )

    #: the event that is being reported
    __delivery: Delivery | None = None
    __queue: ServiceQueue | None = None
    __started = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if type(self).name is None and kwargs.get("name") is None:
            kwargs["name"] = type(self).__name__
        super().__init__(*args, **kwargs)

    def default_generators(self) -> list[Any]:
        """The generators of a reporter whose configuration has none."""
        return []

    # for subclasses to override

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, and the arguments of the generators."""
        super().checkConfig(*args, **kwargs)
        generators = self.by_name(args, kwargs).get("generators")
        if generators is None:
            generators = self.default_generators()
        for generator in generators if isinstance(generators, list | tuple) else ():
            if hasattr(generator, "check"):
                generator.check()

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments, which apply to later events; Deferred."""
        await super().reconfigService(*args, **kwargs)
        if self.generators is None:
            self.generators = self.default_generators()
        await self.__listen()

    def sendMessage(self, reports: list[dict[str, Any]]) -> Any:
        """Send the reports of one event; may return a Deferred or coroutine.

        Args:
            reports: those of the generators, in their order, with ``body``, ``subject``, ``type``, ``results``,
                ``builds``, ``buildset``, ``users``, ``patches``, ``logs`` and ``extra_info``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sendMessage()")

    def getResponsibleUsersForBuild(self, master: Any, buildid: int) -> Any:
        """The users responsible for a build, as a list of texts; Deferred."""
        return utils.getResponsibleUsersForBuild(master, buildid)

    # for subclasses to call

    @property
    def idempotency_key(self) -> str:
        """A text that is the same for all attempts to send the current event, and different for other events."""
        assert self.__delivery is not None
        return f"{self.name}-{self.__delivery.seq}"

    def mark_of(self, *part: object) -> str:
        """A word that is the same for all attempts to send a part of the event, and different for other parts.

        Args:
            part: names the part, with a value that no other installation has, such as the build's URL.
        """
        key = "" if self.__delivery is None else self.idempotency_key
        digest = hashlib.blake2b(repr((key, *part)).encode(), digest_size=12).hexdigest()
        return f"buildbot:{digest}"

    @property
    def may_have_arrived_since(self) -> int | None:
        """The earliest time, in Unix seconds, at which an earlier attempt may have arrived; None if none can have.

        An attempt may have arrived if the master was killed before it stored that, or if no answer came. A reporter
        then asks its receiver, if that is possible, whether the report has arrived.
        """
        delivery = self.__delivery
        if delivery is None or not delivery.may_have_arrived:
            return None
        times = (delivery.message.get(name) for name in ("complete_at", "started_at", "submitted_at"))
        happened_at = next((each for each in times if isinstance(each, int)), 0)
        return max(happened_at - _CLOCKS_DIFFER_S, 0)

    async def once(self, part: object, send: Callable[[], Awaitable[Any]]) -> None:
        """Send a part of a report, unless it arrived in an earlier attempt.

        Args:
            part: a name that is unique in the event.
            send: sends the part.
        """
        done = set() if self.__delivery is None else self.__delivery.done
        if part not in done:
            await send()
            done.add(part)

    # running

    @deferred
    async def startService(self) -> None:
        """Take the arguments and continue after the last handled event; Deferred."""
        await super().startService()
        self.__started = True
        await self.__listen()

    @deferred
    async def stopService(self) -> None:
        """Stop; waiting reports are sent after the next start. Deferred."""
        self.__started = False
        if self.__queue is not None:
            await self.__queue.end()
        await super().stopService()

    async def __listen(self) -> None:
        if not self.__started:
            return
        patterns = [tuple(key) for each in self.generators for key in each.wanted_event_keys]
        if self.__queue is None:
            self.__queue = ServiceQueue(self.__deliver)
        await self.__queue.follow(self.name, patterns, self.master)

    async def __deliver(self, delivery: Delivery) -> bool:
        """Report one event; whether there was a report to send."""
        reports = []
        for generator in list(self.generators):
            if not _wants(generator, delivery.key):
                continue
            try:
                report = await resolved(generator.generate(self.master, self, delivery.key, dict(delivery.message)))
            except Exception as problem:
                if is_unavailable(problem):
                    raise
                what = "/".join(delivery.key)
                _log.failure(
                    "reporter {name}: {generator} failed for {what}", name=self.name, generator=generator, what=what
                )
                continue
            if report is not None:
                reports.append(report)
        if not reports:
            return False
        self.__delivery = delivery
        try:
            await resolved(self.sendMessage(reports))
        finally:
            self.__delivery = None
        return True


def _wants(generator: Any, key: Sequence[str]) -> bool:
    return any(
        len(pattern) == len(key) and all(want is None or want == have for want, have in zip(pattern, key, strict=True))
        for pattern in generator.wanted_event_keys
    )


__all__ = ["ReporterBase"]
