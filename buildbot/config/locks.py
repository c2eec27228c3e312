"""Locks of a configuration, which builds, steps and workers hold while they run.

These objects are names, compared by their values. The locks themselves are in the engine (`buildbot.process.locks`),
which finds them by kind and name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from buildbot.config import checks
from buildbot.config.errors import error
from buildbot.interfaces import holds_renderable

MODES = ("counting", "exclusive")


class _Lock:
    """Base of both kinds."""

    name: str
    maxCount: int

    def access(self, mode: Literal["counting", "exclusive"], count: int = 1) -> LockAccess:
        """An access to the lock: ``counting``, together with others, or ``exclusive``, alone.

        Args:
            mode: ``counting`` or ``exclusive``.
            count: how much of ``maxCount`` a ``counting`` access takes; 0 takes nothing and never waits.
        """
        return LockAccess(self, mode, count)

    def defaultAccess(self) -> LockAccess:
        """The access of a lock without one in a list: ``access("counting")``."""
        return LockAccess(self, "counting")

    @property
    def most(self) -> int:
        """The most that can be held anywhere at once."""
        return self.maxCount

    def max_on(self, worker: str) -> int:
        """The most that can be held at once on a worker."""
        return self.maxCount

    def _check(self) -> None:
        shown = f"{type(self).__name__} {self.name!r}"
        if not isinstance(self.name, str) or not self.name:
            error(f"{type(self).__name__}: name must be a text that is not empty, not {checks.kind(self.name)}")
        try:
            checks.whole_number()(self.maxCount)
        except ValueError as reason:
            error(f"{shown}: maxCount {reason}")
            object.__setattr__(self, "maxCount", 1)


@dataclass(frozen=True)
class MasterLock(_Lock):
    """A lock of the whole master.

    Attributes:
        name: unique among the locks of its kind.
        maxCount: how much may be held at once.
    """

    name: str
    maxCount: int = 1

    def __post_init__(self) -> None:
        self._check()


@dataclass(frozen=True)
class WorkerLock(_Lock):
    """A lock of each worker: builds on one worker do not wait for builds on another.

    Attributes:
        name: unique among the locks of its kind.
        maxCount: how much may be held at once on a worker.
        maxCountForWorker: the same for some workers, by their names.
    """

    name: str
    maxCount: int = 1
    maxCountForWorker: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._check()
        counts: dict[str, int] = {}
        try:
            for worker, count in checks.mapping(self.maxCountForWorker or {}).items():
                counts[worker] = checks.whole_number()(count)
        except ValueError as reason:
            error(f"WorkerLock {self.name!r}: maxCountForWorker {reason}")
        object.__setattr__(self, "maxCountForWorker", counts)

    @property
    def most(self) -> int:
        """The most that can be held on any worker at once."""
        return max([self.maxCount, *self.maxCountForWorker.values()])

    def max_on(self, worker: str) -> int:
        """The most that can be held at once on a worker."""
        return self.maxCountForWorker.get(worker, self.maxCount)


@dataclass(frozen=True)
class LockAccess:
    """An access to a lock; made by ``lock.access(mode, count)``.

    Attributes:
        lock: a `MasterLock` or `WorkerLock`.
        mode: ``counting`` or ``exclusive``.
        count: how much of the lock's ``maxCount`` it takes; 1 if ``exclusive``.
    """

    lock: _Lock
    mode: str
    count: int = 1

    def __post_init__(self) -> None:
        given: object = self.lock
        if not isinstance(given, _Lock):
            error(f"LockAccess: lock must be a util.MasterLock or util.WorkerLock, not {checks.kind(given)}")
            object.__setattr__(self, "lock", MasterLock("unknown"))
        shown = f"{type(self.lock).__name__} {self.lock.name!r}"
        problem = ""
        if self.mode not in MODES:
            problem = f"mode must be 'counting' or 'exclusive', not {checks.kind(self.mode)}"
        elif type(self.count) is not int or self.count < 0:
            problem = f"count must be a whole number from 0 on, not {checks.kind(self.count)}"
        elif self.mode == "exclusive" and self.count != 1:
            problem = f"an exclusive access has the count 1, not {self.count}"
        elif self.mode == "counting" and self.count > self.lock.most:
            problem = f"count {self.count} is more than its maxCount {self.lock.most}, so it would wait for ever"
        if problem:
            error(f"{shown}: {problem}")

    @property
    def key(self) -> tuple[str, str]:
        """The kind and the name of the lock."""
        return type(self.lock).__name__, self.lock.name


def _access(value: Any) -> LockAccess:
    if isinstance(value, LockAccess):
        return value
    if isinstance(value, _Lock):
        return value.defaultAccess()
    raise ValueError(f"must be what a lock's access(…) gives, not {checks.kind(value)}")


def lock_list(value: Any) -> Any:
    """Check the argument ``locks``: a list of accesses, each lock once. A renderable is not checked.

    A lock without an access gets its default access. None is no lock.
    """
    if value is None:
        return []
    if holds_renderable(value):
        return value
    accesses = checks.list_of(_access)(value)
    seen: set[tuple[str, str]] = set()
    for each in accesses:
        if each.key in seen:
            raise ValueError(f"name {shown(each)} twice")
        seen.add(each.key)
    return accesses


def shown(access: LockAccess) -> str:
    """The name of a lock for messages."""
    return f"{type(access.lock).__name__} {access.lock.name!r}"


def known_locks(value: Any) -> list[LockAccess]:
    """The accesses of an argument ``locks`` that are known while the configuration is read."""
    return (
        [_access(each) for each in value if isinstance(each, LockAccess | _Lock)]
        if isinstance(value, list | tuple)
        else []
    )


def differing(accesses: Iterable[LockAccess]) -> Iterable[str]:
    """Complaints about locks of one kind and name with different counts."""
    first: dict[tuple[str, str], Any] = {}
    said: set[tuple[str, str]] = set()
    for each in accesses:
        if first.setdefault(each.key, each.lock) != each.lock and each.key not in said:
            said.add(each.key)
            yield f"there are two locks {shown(each)} with different counts; make one object and use it everywhere"
