"""The turns of builders to take the locks of their builds.

Locks of a builder and of a worker are taken together, before a request is claimed. A builder that cannot have them
wishes for them and waits. When its turn comes it holds them for one round of the distributor, in which it must start a
build; if it cannot (its workers are busy by then), other builders get their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger

from buildbot.config.locks import LockAccess
from buildbot.process.builder import Builder
from buildbot.process.locks import Claim, ImpossibleError, Lock, Locks, Wish
from buildbot.process.workers.idle import WorkerPool
from buildbot.process.workers.managed import ManagedWorker

_log = Logger()

#: locks, and the modes in which they are held
Accesses = list[tuple[Lock, LockAccess]]


class LockTurns:
    """The turns of builders to take locks.

    Args:
        on_turn: called with a builder and a worker when the builder's turn comes; its result is false if the builder
            does not use the turn.
    """

    def __init__(self, on_turn: Callable[[Builder, ManagedWorker], bool]) -> None:
        self.locks = Locks()
        self._on_turn = on_turn
        #: by builder: its wish, and the claim that it holds for this round or the next, with the worker
        self._wishes: dict[str, Wish] = {}
        self._granted: dict[str, tuple[ManagedWorker, Claim]] = {}

    def held(self) -> dict[str, tuple[ManagedWorker, Claim]]:
        """The claims that builders hold at the beginning of a round, for `end_of_round`."""
        return dict(self._granted)

    def end_of_round(self, held: dict[str, tuple[ManagedWorker, Claim]]) -> None:
        """Release the claims that were held when the round began and were not used in it."""
        for name, unused in held.items():
            if self._granted.get(name) is unused:
                del self._granted[name]
                unused[1].release()

    def drop_all(self) -> None:
        """Forget all wishes and turns."""
        for name in list(self._wishes):
            self._give_up(name)
        granted, self._granted = self._granted, {}
        for _, claim in granted.values():
            claim.release()

    def place(self, builder: Builder, workers: WorkerPool) -> tuple[ManagedWorker, Claim | None] | None:
        """A worker that can start a build now, and the locks that it takes; None if there is none."""
        turn = self._granted.pop(builder.name, None)
        if turn is not None:
            worker, claim = turn
            if worker.can_take(builder.name):
                return turn
            anywhere = not worker.locks and not any(lock.worker for lock, _ in claim.accesses)
            other = next((each for each in workers.able(builder.name) if not each.locks), None)
            if anywhere and other is not None:
                return other, claim
            claim.release()
        refused: dict[ManagedWorker, Accesses] = {}
        for worker in workers.able(builder.name):
            if not builder.config.locks and not worker.locks:
                return worker, None
            accesses = self.accesses(builder, worker, builder.config.locks)
            if accesses is None:
                continue
            taken = self._try(builder, accesses)
            if taken is not None:
                return worker, taken
            refused[worker] = accesses
            if not worker.locks and not any(lock.worker for lock, _ in accesses):
                break  # the locks are the same on every worker
        self.wish(builder, refused)
        return None

    def accesses(self, builder: Builder, worker: ManagedWorker, locks: Sequence[LockAccess]) -> Accesses | None:
        """The locks that a build takes on a worker; None if it can never have them there."""
        try:
            return self.locks.of([*locks, *worker.locks], worker.name)
        except ImpossibleError as problem:
            _log.warn(
                "{builder!r} cannot build on {worker}: {problem}", builder=builder, worker=worker.name, problem=problem
            )
            return None

    def are_free(self, builder: Builder, accesses: Accesses) -> bool:
        """Whether a builder could take these locks now."""
        turn = self._granted.get(builder.name)
        return self.locks.are_free(accesses) or (turn is not None and list(turn[1].accesses) == accesses)

    def take(self, builder: Builder, accesses: Accesses) -> Claim | None:
        """A claim to locks, which may be the one that the builder holds by its turn; None if others were faster."""
        turn = self._granted.pop(builder.name, None)
        if turn is not None:
            if list(turn[1].accesses) == accesses:
                return turn[1]
            turn[1].release()
        return self._try(builder, accesses)

    def wish(self, builder: Builder, places: dict[ManagedWorker, Accesses]) -> None:
        """Wait for the locks on one of some workers; a wish for a worker keeps its place."""
        name = builder.name
        if not places:
            self._give_up(name)
            return
        wish = self._wishes.get(name)
        if wish is None:
            wish = self._wishes[name] = Wish(self.locks, name, lambda *it: self._turn(builder, *it))
        for worker, accesses in places.items():
            if self._wishes.get(name) is wish:  # not granted on the way
                wish.add(worker, accesses)

    def _try(self, builder: Builder, accesses: Accesses) -> Claim | None:
        claim = self.locks.try_claim(builder.name, accesses)
        if claim is not None:
            self._give_up(builder.name)
        return claim

    def _turn(self, builder: Builder, worker: ManagedWorker, claim: Claim) -> None:
        name = builder.name
        self._wishes.pop(name, None)
        if name in self._granted:
            claim.release()
            return
        self._granted[name] = worker, claim
        if not self._on_turn(builder, worker):
            del self._granted[name]
            claim.release()

    def _give_up(self, name: str) -> None:
        wish = self._wishes.pop(name, None)
        if wish is not None:
            wish.give_up()
