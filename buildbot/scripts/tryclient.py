"""The client of `buildbot try`: it sends a job as a file by ssh, or over PB, and follows its builds over PB."""

from __future__ import annotations

import json
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.spread import pb

from buildbot.scripts.pbclient import words
from buildbot.scripts.reactor import run
from buildbot.scripts.trysource import Difference
from buildbot.util.results import SUCCESS, WARNINGS, statusToString

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A tree to build, with the arguments of its builds.

    Attributes:
        difference: the difference between the tree and its base.
        project: the project of the source stamp.
        builders: the names of the builders; empty: all of the scheduler.
        who, comment: the author of the changes, and a comment.
        properties: the properties of the builds.
    """

    difference: Difference
    project: str = ""
    builders: Sequence[str] = ()
    who: str | None = None
    comment: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    def file(self) -> bytes:
        """The job in the format of a jobdir's files: version 5, or 6 if the patch is no UTF-8 text."""
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
        """The arguments of the PB call ``try``."""
        tree = self.difference
        return (
            tree.branch, tree.revision, (tree.patchlevel, tree.patch or None), tree.repository or "", self.project,
            list(self.builders) or None, self.who, self.comment, dict(self.properties),
        )  # fmt: skip


def _netstring(content: bytes) -> bytes:
    return b"%d:%b," % (len(content), content)


def by_ssh(command: Sequence[str], job: bytes) -> None:
    """Send a job to ``buildbot tryserver`` on the master's machine.

    Args:
        command: the ssh program with all arguments.
        job: the content of the job's file.

    Raises:
        click.ClickException: the command cannot be run, or fails.
    """
    try:
        done = subprocess.run(command, input=job, check=False)
    except OSError as reason:
        raise click.ClickException(f"{command[0]} cannot be run: {reason.strerror}") from None
    if done.returncode != 0:
        raise click.ClickException(f"the job was not taken: {' '.join(command)} ended with exit code {done.returncode}")


def in_reactor(work: Callable[[Any], Coroutine[Deferred[Any], Any, T]]) -> T:
    """The result of a coroutine that talks to the master, run on the reactor of this process.

    Raises:
        click.ClickException: the master cannot be reached, refuses the login, or reports an error.
    """
    from twisted.internet import reactor

    try:
        return run(lambda: work(reactor))
    except click.ClickException:
        raise
    except Exception as problem:
        raise click.ClickException(words(problem)) from None


class Observer(pb.Referenceable):
    """Follows the builds of one request: the master calls its methods over PB."""

    def __init__(self, builder: str, say: Say) -> None:
        self.builder = builder
        self._say = say
        #: fires with result and texts of the build
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
        """The connection to the master is lost."""
        self._failed(ConnectionError("the connection to the master was lost"))

    def remote_stepStarted(self, builder: str, build: Any, step: str, _: Any) -> None:
        """A step has started."""
        self._say(f"{self.builder}: {step}")

    def remote_stepFinished(self, builder: str, build: Any, step: str, _: Any, results: int) -> None:
        """A step has ended."""
        if results not in (SUCCESS, None):
            self._say(f"{self.builder}: {step}: {statusToString(results)}")

    def remote_buildETAUpdate(self, builder: str, build: Any, seconds: float) -> None:
        """The estimated seconds until the build's end."""
        self._say(f"{self.builder}: {seconds:.0f} seconds left")


def _lose(observers: Sequence[Observer]) -> None:
    for each in observers:
        each.lost()


class PbClient:
    """A connection to the Try_Userpass scheduler of a master.

    Args:
        reactor: makes the connection.
        address: host and port of the scheduler.
        user, password: the login.
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
        """Send a job to the scheduler.

        Args:
            job: the job.
            wait: whether to wait for the ends of its builds.
            say: called with a line on each event of the builds.

        Returns:
            The exit code: 1 if ``wait`` is set and a build did not succeed, else 0.

        Raises:
            click.ClickException: the scheduler refuses the job.
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
