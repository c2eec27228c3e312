"""The locks of a master, their holders and their queues.

A *claim* asks for some locks, all or none. It is in the queue of each lock. It is granted when it is the first in all
of these queues and all locks are free for it. So the first claim is served first, and no claim waits for ever. All
queues have one common order, and a waiting claim holds nothing, so claims cannot block each other in a circle. An
access with the count 0 takes nothing and never waits.

A release looks at the first claim of each of its queues, and at the next one only if that was granted: its cost does
not depend on the number of waiting claims.

Locks are in this process only. After its end they are free, and other masters do not know them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from buildbot.config.locks import LockAccess, WorkerLock, shown


class ImpossibleError(Exception):
    """A lock can never be held in that way."""


class Lock:
    """A lock: of the master, or of one worker.

    Attributes:
        name: its name in the configuration.
        worker: the worker of a worker's lock; None: a lock of the master.
        most: the largest count that may be held at once.
        held: the count that is held, exclusive holders left out.
        holders: the claims that hold it.
        waiting: the claims that wait for it, the first one first.
    """

    def __init__(self, name: str, worker: str | None) -> None:
        self.name = name
        self.worker = worker
        self.most = 1
        self.held = 0
        self.exclusive = False
        self.holders: dict[Claim, LockAccess] = {}
        self.waiting: OrderedDict[Claim, LockAccess] = OrderedDict()

    def is_free(self, access: LockAccess) -> bool:
        """Whether it is free for an access now, waiting claims left out of account."""
        if access.mode == "exclusive":
            return not self.exclusive and not self.held
        return not self.exclusive and self.held + access.count <= self.most

    def take(self, claim: Claim, access: LockAccess, sign: int = 1) -> None:
        """Add a claim to the holders; with ``sign=-1`` remove it."""
        if access.mode == "exclusive":
            self.exclusive = sign > 0
        else:
            self.held += sign * access.count
        if sign > 0:
            self.holders[claim] = access
        else:
            del self.holders[claim]


class Claim:
    """A claim to some locks.

    Attributes:
        owner: the name of the owner, for people.
        accesses: the locks, and how they are held.
        granted: whether they are held.
    """

    def __init__(self, locks: Locks, owner: str, accesses: Sequence[tuple[Lock, LockAccess]]) -> None:
        self.owner = owner
        self.accesses = accesses
        self.granted = False
        self.on_grant: Callable[[Claim], None] | None = None
        self._locks = locks

    def release(self) -> None:
        """Release the locks, or stop waiting for them; a second call does nothing."""
        self._locks.let_go(self)

    @property
    def waits_for(self) -> str:
        """The locks that it waits for, and their holders, in words."""
        busy = [lock for lock, access in self.accesses if not lock.is_free(access) or self._is_behind(lock)]
        return "; ".join(f"{lock.name}{_held_by(lock)}" for lock in busy)

    def _is_behind(self, lock: Lock) -> bool:
        return bool(lock.waiting) and next(iter(lock.waiting)) is not self


def _held_by(lock: Lock) -> str:
    owners = [claim.owner for claim in lock.holders]
    if not owners:
        return ", for which others wait"
    more = f" and {len(owners) - 3} more" if len(owners) > 3 else ""
    return f", held by {', '.join(owners[:3])}{more}"


class Locks:
    """All locks of a master.

    Attributes:
        looked_at: how often a waiting claim was looked at so far.
    """

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str, str | None], Lock] = {}
        self.looked_at = 0

    def __iter__(self) -> Iterator[Lock]:
        """The locks that are held or waited for, by name."""
        used = [lock for lock in self._locks.values() if lock.holders or lock.waiting]
        return iter(sorted(used, key=lambda lock: (lock.name, lock.worker or "")))

    def described(self) -> list[dict[str, Any]]:
        """The locks that are held or waited for, by name, as the API shows them.

        Each has ``name``, ``worker`` (None for a lock of the master), ``max_count``, and ``holders`` and ``waiting``,
        the first one first: ``owner``, ``mode`` and ``count``.
        """
        return [
            {
                "name": lock.name,
                "worker": lock.worker,
                "max_count": lock.most,
                "holders": [_described(*each) for each in lock.holders.items()],
                "waiting": [_described(*each) for each in lock.waiting.items()],
            }
            for lock in self
        ]

    def of(self, accesses: Iterable[LockAccess], worker: str) -> list[tuple[Lock, LockAccess]]:
        """The locks of some accesses on a worker, with their modes; those with the count 0 are left out.

        Raises:
            ImpossibleError: a lock is named twice, or its limit is lower than the count.
        """
        found: dict[Lock, LockAccess] = {}
        for access in accesses:
            if access.mode == "counting" and not access.count:
                continue
            own = worker if isinstance(access.lock, WorkerLock) else None
            lock = self._locks.setdefault((*access.key, own), Lock(access.lock.name, own))
            most = access.lock.max_on(worker)
            if most != lock.most:  # a new configuration
                lock.most = most
                self._serve([lock])
            if lock in found:
                raise ImpossibleError(f"{shown(access)} is named twice")
            if access.mode == "counting" and access.count > most:
                raise ImpossibleError(f"{shown(access)} has {most} on worker {worker!r}, less than {access.count}")
            found[lock] = access
        return list(found.items())

    def try_claim(self, owner: str, accesses: Sequence[tuple[Lock, LockAccess]]) -> Claim | None:
        """A claim that is granted at once; None if another claim holds or waits for one of the locks."""
        if not self.are_free(accesses):
            return None
        claim = Claim(self, owner, accesses)
        self._grant(claim)
        return claim

    @staticmethod
    def are_free(accesses: Sequence[tuple[Lock, LockAccess]]) -> bool:
        """Whether no claim holds or waits for one of the locks."""
        return not any(lock.waiting or not lock.is_free(access) for lock, access in accesses)

    def claim(
        self, owner: str, accesses: Sequence[tuple[Lock, LockAccess]], on_grant: Callable[[Claim], None]
    ) -> Claim:
        """A claim that waits for its turn; ``on_grant`` is called with it unless it is granted at once."""
        claim = self.try_claim(owner, accesses)
        if claim is None:
            claim = Claim(self, owner, accesses)
            claim.on_grant = on_grant
            for lock, access in accesses:
                lock.waiting[claim] = access
        return claim

    def let_go(self, claim: Claim) -> None:
        """See `Claim.release`."""
        if claim.granted:
            claim.granted = False
            for lock, access in claim.accesses:
                lock.take(claim, access, -1)
        else:
            for lock, _ in claim.accesses:
                lock.waiting.pop(claim, None)
        self._serve([lock for lock, _ in claim.accesses])

    def _grant(self, claim: Claim) -> None:
        claim.granted = True
        for lock, access in claim.accesses:
            lock.waiting.pop(claim, None)
            lock.take(claim, access)

    def _serve(self, changed: Iterable[Lock]) -> None:
        """Grant the claims that have become possible."""
        todo, granted = deque(changed), []
        while todo:
            lock = todo.popleft()
            while lock.waiting:
                claim = next(iter(lock.waiting))
                self.looked_at += 1
                if not self._is_next(claim):
                    break
                self._grant(claim)
                granted.append(claim)
                todo.extend(other for other, _ in claim.accesses if other is not lock)
        for claim in granted:
            if claim.on_grant is not None and claim.granted:
                claim.on_grant(claim)

    @staticmethod
    def _is_next(claim: Claim) -> bool:
        return all(next(iter(lock.waiting)) is claim and lock.is_free(access) for lock, access in claim.accesses)


def _described(claim: Claim, access: LockAccess) -> dict[str, Any]:
    return {"owner": claim.owner, "mode": access.mode, "count": access.count}


class Wish:
    """A builder's wish for one of several claims; when the first one is granted, the others are withdrawn.

    Args:
        locks: the locks of the master.
        owner: the name of the owner, for people.
        on_grant: called with the key of the claim, and the claim.
    """

    def __init__(self, locks: Locks, owner: str, on_grant: Callable[[Any, Claim], None]) -> None:
        self._locks = locks
        self._owner = owner
        self._on_grant = on_grant
        self._claims: dict[Claim, Any] = {}
        self._wanted: set[tuple[tuple[Lock, LockAccess], ...]] = set()

    def add(self, what: Any, accesses: Sequence[tuple[Lock, LockAccess]]) -> None:
        """Wish for these locks, too, under a key (a worker); a wish of the same key keeps its place."""
        if tuple(accesses) in self._wanted:
            return
        self._wanted.add(tuple(accesses))
        claim = self._locks.claim(self._owner, accesses, self._granted)
        self._claims[claim] = what
        if claim.granted:
            self._granted(claim)

    def _granted(self, claim: Claim) -> None:
        what = self._claims.pop(claim, None)
        if what is None:  # withdrawn meanwhile
            claim.release()
            return
        self.give_up()
        self._on_grant(what, claim)

    def give_up(self) -> None:
        """Withdraw all claims."""
        claims, self._claims = self._claims, {}
        for claim in claims:
            claim.release()
