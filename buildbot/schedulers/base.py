"""Schedulers of people's own: what ``buildbot.schedulers.base`` gives to configurations.

A subclass follows changes by `BaseScheduler.startConsumingChanges`, is told of each by `BaseScheduler.gotChange`, and
makes buildsets by ``addBuildsetForChanges`` and its kin. It keeps values by ``getState`` and ``setState``. Each change
is told once, over restarts and whichever master runs the scheduler: that it was told is written with the first buildset
that ``gotChange`` makes, or at its end.
"""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.changes.changes import Change
from buildbot.config.arguments import arguments_of
from buildbot.schedulers.feed import ChangeScheduler
from buildbot.util.deferreds import deferred, resolved


class BaseScheduler(ChangeScheduler):
    """Base of people's own schedulers: override `activate`, `deactivate` and `gotChange`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__follows = False

    def gotChange(self, change: Change, important: bool) -> Any:
        """A change has come that `startConsumingChanges` lets through. May return a Deferred or a coroutine.

        What it raises is logged, and the change is told again a little later.

        Args:
            change: the change.
            important: what ``fileIsImportant`` says of it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gotChange()")

    @deferred
    async def startConsumingChanges(
        self, fileIsImportant: Any = None, change_filter: Any = None, onlyImportant: bool = False
    ) -> None:
        """Follow the changes, the missed changes first; called once, in `activate`. Deferred.

        Args:
            fileIsImportant: a function of a change, whether it is worth a build; None: all are.
            change_filter: a `ChangeFilter`; None: all pass.
            onlyImportant: leave out the others.

        Raises:
            ValueError: one of these cannot be used.
        """
        for name, value in (
            ("fileIsImportant", fileIsImportant),
            ("change_filter", change_filter),
            ("onlyImportant", onlyImportant),
        ):
            if value is not None:
                self.set_rendered(name, value)
        self.__follows = True
        async with self.exclusive():
            pass  # a scheduler that has never run begins with the changes after now
        self.follow_changes()

    async def stop_scheduling(self) -> None:
        """Follow the changes no more."""
        if self.__follows:
            self.__follows = False
            await self.stop_following()

    async def take_change(self, change: Change, important: bool) -> None:
        """Tell it, once."""
        await self.writing(self.noting(), lambda: self.gotChange(change, important))


class ReconfigurableBaseScheduler(BaseScheduler):
    """Base of people's own schedulers that take their arguments in ``checkConfig`` and ``reconfigService``.

    Both are called with all arguments but the name: ``checkConfig`` when the configuration is read, and
    ``reconfigService`` before the scheduler begins to work.
    """

    positional: ClassVar[tuple[str, ...]] = ("builderNames", "properties", "codebases", "priority")

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.__name, self.__given, self.__is_made = name, (args, kwargs), False
        self.checkConfig(*args, **kwargs)
        if not self.__is_made:  # one that does not call it with super()
            super().__init__(name=name, builderNames=kwargs.get("builderNames", []))

    def checkConfig(self, *args: Any, **kwargs: Any) -> None:
        """Check the arguments; call ``super()`` with the arguments that all schedulers have."""
        self.__is_made = True
        super().__init__(*args, name=self.__name, **kwargs)

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments; call ``super()`` with the arguments that all schedulers have. Deferred."""
        given, declared = self.by_name(args, kwargs), arguments_of(type(self))
        for key, value in given.items():
            if key not in declared:
                raise ValueError(f"{type(self).__name__} {self.name!r}: unknown argument {key!r}")
            setattr(self, key, declared[key].checked(value))
        self.properties = self.stated_properties()
        if "codebases" in given:
            self.codebases = self.stated_codebases()

    async def start_work(self) -> None:
        """Take the arguments first."""
        args, kwargs = self.__given
        await resolved(self.reconfigService(*args, **kwargs))
        await super().start_work()


__all__ = ["BaseScheduler", "ReconfigurableBaseScheduler"]
