"""How `buildbot try` hands a job over: as a file by ssh, or over PB, and what it hears of the builds then."""

from __future__ import annotations

import json
import subprocess
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import react
from twisted.spread import pb

from buildbot.scripts.trysource import Difference
from buildbot.util.results import SUCCESS, WARNINGS, statusToString

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What is to be tried.

    Attributes:
        difference: the tree.
        project: of the source stamp.
        builders: names; empty: all of the scheduler.
        who, comment: of the one who tries.
        properties: of the builds.
    """

    difference: Difference
    project: str = ""
    builders: Sequence[str] = ()
    who: str | None = None
    comment: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    def file(self) -> bytes:
        """The job as a file of a jobdir: version 5, or 6 where the patch is no text."""
        tree = self.difference
        described: dict[str, Any] = {
            "jobid": f"{int(time.time())}-{time.time_ns() % 1_000_000}",
            "branch": tree.branch or "",
            "baserev": tree.revision or "",
            "patch_level": tree.patchlevel,
            "repository": tree.repository or "",
            "project": self.project,
            "who": self.who,
            "comment": self.comment,
            "builderNames": list(self.builders) or None,
            "properties": dict(self.properties),
        }
        try:
            version, described["patch_body"] = b"5", tree.patch.decode()
        except UnicodeDecodeError:
            version, described["patch_body_base64"] = b"6", b64encode(tree.patch).decode()
        return _netstring(version) + _netstring(json.dumps(described).encode())

    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the call ``try``."""
        tree = self.difference
        return (
            tree.branch, tree.revision, (tree.patchlevel, tree.patch or None), tree.repository or "", self.project,
            list(self.builders) or None, self.who, self.comment, dict(self.properties),
        )  # fmt: skip


def _netstring(content: bytes) -> bytes:
    return b"%d:%b," % (len(content), content)


def by_ssh(command: Sequence[str], job: bytes) -> None:
    """Have ``buildbot tryserver`` on the master's machine put a job into its directory.

    Raises:
        click.ClickException: it did not.
    """
    try:
        done = subprocess.run(command, input=job, check=False)
    except OSError as reason:
        raise click.ClickException(f"{command[0]} cannot be run: {reason.strerror}") from None
    if done.returncode != 0:
        raise click.ClickException(f"the job was not taken: {' '.join(command)} ended with exit code {done.returncode}")


def in_reactor(work: Callable[[Any], Awaitable[T]]) -> T:
    """What a coroutine gives, in a reactor that this process has no other use for.

    Raises:
        click.ClickException: the master cannot be reached, or lets nobody in.
    """
    outcome: list[T] = []
    problems: list[Exception] = []

    async def main(reactor: Any) -> None:
        try:
            outcome.append(await work(reactor))
        except Exception as problem:
            problems.append(problem)

    with suppress(SystemExit):
        react(lambda reactor: ensureDeferred(main(reactor)), [])
    if problems:
        raise problems[0] if isinstance(problems[0], click.ClickException) else click.ClickException(said(problems[0]))
    if not outcome:
        raise click.ClickException("interrupted")
    return outcome[0]


def said(problem: Exception) -> str:
    """The text of a failure; an error of the master is its class and its message."""
    if isinstance(problem, UnauthorizedLogin) or getattr(problem, "remoteType", b"").endswith(b"UnauthorizedLogin"):
        return "wrong user or password"
    if isinstance(problem, pb.RemoteError):
        return f"the master refused: {problem.args[0]}"
    return str(problem) or type(problem).__name__


class Observer(pb.Referenceable):
    """Hears of the builds of one request."""

    def __init__(self, builder: str, say: Say) -> None:
        self.builder = builder
        self._say = say
        #: result and texts
        self.ended: Deferred[tuple[int, list[str]]] = Deferred()

    def remote_newbuild(self, build: Any, builder: str) -> None:
        """A build has started."""
        self._say(f"{self.builder}: building")
        ensureDeferred(self._follow(build)).addErrback(self._failed)

    async def _follow(self, build: Any) -> None:
        await build.callRemote("subscribe", self, 20)
        status = await build.callRemote("waitUntilFinished")
        results = await status.callRemote("getResults")
        texts = await status.callRemote("getText")
        if not self.ended.called:
            self.ended.callback((results, texts))

    def _failed(self, failure: Any) -> None:
        if not self.ended.called:
            self.ended.errback(failure)

    def lost(self) -> None:
        """The master is gone."""
        self._failed(ConnectionError("the master is gone"))

    def remote_stepStarted(self, builder: str, build: Any, step: str, _: Any) -> None:
        """A step has started."""
        self._say(f"{self.builder}: {step}")

    def remote_stepFinished(self, builder: str, build: Any, step: str, _: Any, results: int) -> None:
        """A step has ended."""
        if results not in (SUCCESS, None):
            self._say(f"{self.builder}: {step}: {statusToString(results)}")

    def remote_buildETAUpdate(self, builder: str, build: Any, seconds: float) -> None:
        """How long it may still take."""
        self._say(f"{self.builder}: {seconds:.0f} seconds left")


def _lose(observers: Sequence[Observer]) -> None:
    for each in observers:
        each.lost()


class PbClient:
    """A connection to the Try_Userpass scheduler of a master.

    Args:
        reactor: Twisted's.
        address: host and port.
        user, password: of the scheduler.
    """

    def __init__(self, reactor: Any, address: tuple[str, int], user: str, password: str) -> None:
        self._reactor = reactor
        self._address = address
        self._credentials = UsernamePassword(user.encode(), password.encode())
        self._perspective: Any = None
        self._factory: Any = pb.PBClientFactory()

    async def __aenter__(self) -> PbClient:
        await HostnameEndpoint(self._reactor, *self._address).connect(self._factory)
        self._perspective = await self._factory.login(self._credentials)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._factory.disconnect()

    async def builders(self) -> list[str]:
        """The names of the scheduler's builders."""
        names: list[str] = await self._perspective.callRemote("getAvailableBuilderNames")
        return names

    async def attempt(self, job: Job, wait: bool, say: Say) -> int:
        """Hand a job over.

        Args:
            job: it.
            wait: for the ends of the builds.
            say: is told what happens to them.

        Returns:
            The exit code: 1 if some build that was waited for did not succeed.

        Raises:
            click.ClickException: the scheduler does not take it.
        """
        buildset = await self._perspective.callRemote("try", *job.arguments())
        if buildset is None:
            raise click.ClickException("the scheduler on the master does not have these builders")
        if not wait:
            say("job has been delivered")
            return 0
        observers = []
        for builder, request in await buildset.callRemote("getBuildRequests"):
            observer = Observer(builder, say)
            await request.callRemote("subscribe", observer)
            observers.append(observer)
        self._perspective.notifyOnDisconnect(lambda _: _lose(observers))
        ends = await gatherResults([each.ended for each in observers], consumeErrors=True)
        say("All Builds Complete")
        for observer, (results, texts) in zip(observers, ends, strict=True):
            say(f"{observer.builder}: {statusToString(results)} ({' '.join(texts)})")
        return 0 if all(results in (SUCCESS, WARNINGS) for results, _ in ends) else 1
