"""The locks of a step: it has begun, and waits for all of them while it holds none."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from buildbot.config.locks import lock_list
from buildbot.process.locks import Claim, ImpossibleError
from buildbot.process.stepcontract import RunningStep


async def acquire(step: RunningStep) -> Claim | None:
    """Wait for the locks of a step; None if it has none.

    Raises:
        BuildStepCancelled: it was stopped while it waited, and holds nothing.
        ImpossibleError, ValueError: its ``locks`` are malformed, or it can never have them.
    """
    build = step.build
    # checked again, since a renderable may give any value
    wanted = build.builder.locks.of(lock_list(await step.render(step.locks)), build.workername)
    if not wanted:
        return None
    for lock, _ in wanted:
        if build.locks is not None and lock in (held for held, _ in build.locks.accesses):
            raise ImpossibleError(f"the build holds the lock {lock.name!r} already, so the step would wait for ever")
    granted: Deferred[Claim] = Deferred()
    owner = f"{build.builder.name} #{build.number} {step.name}"
    claim: Claim = build.builder.locks.claim(owner, wanted, granted.callback)
    if not claim.granted:
        await _wait(step, claim, granted)
    return claim


async def _wait(step: RunningStep, claim: Claim, granted: Deferred[Claim]) -> None:
    build, update, reactor = step.build, step.master.data.update, step.master.reactor
    began = reactor.seconds()
    step.waits_for_locks = True
    try:
        await update.setStepStateString(step.stepid, f"waiting for locks: {claim.waits_for}")
        await step.wait(granted)
    except BaseException:
        claim.release()
        raise
    finally:
        build.locks_waited_s += reactor.seconds() - began
    step.waits_for_locks = False
    try:
        await update.setBuildLocksDuration(build.buildid, round(build.locks_waited_s))
    except BaseException:
        claim.release()
        raise
