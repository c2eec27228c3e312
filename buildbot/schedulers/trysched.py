"""Schedulers that build what ``buildbot try`` sends: a patch that is not committed yet.

`Try_Jobdir` reads jobs from a directory that ``buildbot tryserver`` writes into over ssh; `Try_Userpass` takes them
over PB, and tells clients how their builds go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy.engine import Connection
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.spread import pb

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.interfaces import holds_renderable
from buildbot.process.properties import Properties
from buildbot.process.workers.clients import Client
from buildbot.schedulers.scheduler import Scheduler
from buildbot.schedulers.tryjob import MAX_JOB_BYTES, BadJobError, TryJob, names, number, read_job, text
from buildbot.schedulers.tryremote import RemoteBuildset
from buildbot.util.deferreds import deferred, resolved

_log = Logger()

SOURCE = "try build"
#: files that have been built and may still lie in the directory, after a crash
_KEPT_NAMES = 100


class _Try(Scheduler):
    """Builds a job."""

    positional: ClassVar[tuple[str, ...]] = ("name", "builderNames")

    async def build(
        self, job: TryJob, reason: str, alongside: Callable[[Connection], None] | None = None
    ) -> tuple[int, dict[str, int]]:
        """Make the buildset of a job; its id, and the requests' ids by builder.

        Raises:
            BadJobError: it asks for a builder that this scheduler does not have, or cannot be stored.
        """
        own = await self.names_for([], {})
        missing = [name for name in job.builders if name not in own]
        if missing:
            raise BadJobError(f"there is no builder {', '.join(map(repr, missing))} here; there are {', '.join(own)}")
        stamp: dict[str, Any] = {
            "codebase": "",
            "branch": job.branch,
            "revision": job.revision,
            "repository": job.repository,
            "project": job.project,
        }
        if job.patch:
            stamp |= {
                "patch_body": job.patch,
                "patch_level": job.level,
                "patch_author": job.who,
                "patch_comment": job.comment,
                "patch_subdir": "",
            }
        properties = {name: (value, SOURCE) for name, value in job.properties.items() if name not in self.properties}
        try:
            bsid, brids = await resolved(
                self.addBuildsetForSourceStamps(
                    sourcestamps=[stamp],
                    reason=reason,
                    properties=properties,
                    builderNames=list(job.builders) or own,
                    external_idstring=job.jobid,
                    alongside=alongside,
                )
            )
        except (TypeError, ValueError) as problem:
            raise BadJobError(f"it cannot be stored: {problem}") from None
        builders = await self.master.data.get({"fields": ["builderid", "name"]}, ("builders",))
        names = {each["builderid"]: each["name"] for each in builders}
        return bsid, {names[builderid]: brid for builderid, brid in brids.items()}


class Try_Jobdir(_Try):
    """Builds jobs from a directory, in which each is a file in ``new``; it is moved to ``cur`` then."""

    #: seconds between two looks at the directory
    poll_s = 10.0

    positional: ClassVar[tuple[str, ...]] = ("name", "builderNames", "jobdir")
    jobdir = argument(
        REQUIRED,
        checks.text,
        doc="the directory, with `new`, `cur` and `tmp` in it; a relative one is in the master's directory",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__looks: LoopingCall | None = None
        self.__looking: Any = None

    @property
    def __directory(self) -> Path:
        return Path(self.master.basedir, str(self.jobdir))

    async def start_scheduling(self) -> None:
        """Look into the directory, now and every so often."""
        for each in ("new", "cur", "tmp"):
            if not (self.__directory / each).is_dir():
                raise FileNotFoundError(f"{self.__directory} must have a directory {each!r} in it")
        self.__looks = LoopingCall(self.look)
        self.__looks.clock = self.master.reactor
        self.__looking = self.__looks.start(self.poll_s)

    async def stop_scheduling(self) -> None:
        """Look no more; returns when what was found has been dealt with."""
        looks, self.__looks = self.__looks, None
        if looks is not None:
            looks.stop()
            await self.__looking

    @deferred
    async def look(self) -> None:
        """Build the jobs that are there."""
        if not self.enabled:
            return
        try:
            for path in sorted((self.__directory / "new").iterdir()):
                if self.__looks is None:
                    return
                await self.__take(path)
        except Exception:
            _log.failure("{part!r}: the job directory cannot be read; it is tried again", part=self)

    async def __take(self, path: Path) -> None:
        """Build the job in a file, and move that; what is no job is moved too."""
        state = self.master.db.state
        built = await state.getState(self.objectid, "built", [])
        if path.name not in built:
            kept = [*built, path.name][-_KEPT_NAMES:]
            try:
                job = read_job(_bytes_of(path))
                await self.build(job, _reason(job), lambda conn: self.__thd_note(conn, kept))
            except BadJobError as problem:
                _log.warn("{part!r}: job {job} is not built: {problem}", part=self, job=path.name, problem=problem)
        path.replace(self.__directory / "cur" / path.name)

    def __thd_note(self, conn: Connection, built: list[str]) -> None:
        self.thd_hold(conn)
        self.master.db.state.thdSetState(conn, self.objectid, "built", built)


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_JOB_BYTES + 1)


def _reason(job: TryJob, with_comment: bool = False) -> str:
    reason = "'try' job"
    if job.who:
        reason += f" by user {job.who}"
    return f"{reason} ({job.comment})" if with_comment and job.comment else reason


def _port(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value):
        raise ValueError(f"must be a port or an endpoint description, not {checks.kind(value)}")
    return value


def _userpass(value: Any) -> list[tuple[str, Any]]:
    pairs = []
    for each in checks.sequence(value):
        if not isinstance(each, list | tuple) or len(each) != 2 or not isinstance(each[0], str) or not each[0]:
            raise ValueError(f"must be pairs (user, password), not {checks.kind(each)}")
        if not isinstance(each[1], str) and not holds_renderable(each[1]):
            raise ValueError(f"must be pairs (user, password); the password of {each[0]!r} is no text")
        pairs.append((each[0], each[1]))
    if not pairs or len({user for user, _ in pairs}) != len(pairs):
        raise ValueError("must have at least one pair (user, password), and each user once")
    return pairs


class Try_Userpass(_Try):
    """Builds jobs of people who log in over PB."""

    positional: ClassVar[tuple[str, ...]] = ("name", "builderNames", "port", "userpass")
    port = argument(REQUIRED, _port, doc="where clients connect: a number or a description of a Twisted endpoint")
    userpass = argument(REQUIRED, _userpass, renderable=True, doc="who may: a list of `(user, password)`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__open: list[str] = []

    async def start_scheduling(self) -> None:
        """Let people in."""
        for user, password in _userpass(self.userpass):
            known = await self.rendered(password)
            await self.master.client_ports.add(self.port, user, Client(known, lambda: _Perspective(self)))
            self.__open.append(user)

    async def rendered(self, password: Any) -> str:
        """A password that may be a secret."""
        properties = Properties()
        properties.master = self.master
        return str(await properties.render(password))

    async def stop_scheduling(self) -> None:
        """Accept no more logins."""
        users, self.__open = self.__open, []
        for user in users:
            await self.master.client_ports.remove(self.port, user)

    async def take(self, job: TryJob) -> RemoteBuildset | None:
        """Build a job; what its client may follow, None if it is refused."""
        try:
            if not self.working or not self.enabled:
                raise BadJobError("the scheduler is switched off")
            _, brids = await self.build(job, _reason(job, with_comment=True))
        except BadJobError as problem:
            _log.warn("{part!r}: a job of {who} is not built: {problem}", part=self, who=job.who, problem=problem)
            return None
        return RemoteBuildset(self.master, brids)


class _Perspective(pb.Avatar):
    """What a client may call."""

    def __init__(self, scheduler: Try_Userpass) -> None:
        self._scheduler = scheduler

    @deferred
    async def perspective_getAvailableBuilderNames(self) -> list[str]:
        """The names of the builders."""
        return await self._scheduler.names_for([], {})

    @deferred
    async def perspective_try(
        self,
        branch: Any,
        revision: Any,
        patch: Any,
        repository: Any,
        project: Any,
        builderNames: Any,
        who: Any = "",
        comment: Any = "",
        properties: Any = None,
    ) -> RemoteBuildset | None:
        """Build a job."""
        try:
            level, body = patch if isinstance(patch, list | tuple) and len(patch) == 2 else (0, None)
            told: Mapping[Any, Any] = properties if isinstance(properties, dict) else {}
            job = TryJob(
                text(branch, "branch") or None,
                text(revision, "revision") or None,
                text(body, "the patch"),
                number(level),
                repository=text(repository, "repository"),
                project=text(project, "project"),
                builders=names(builderNames),
                who=text(who, "who"),
                comment=text(comment, "comment"),
                properties={text(name, "a property"): value for name, value in told.items()},
            )
        except BadJobError as problem:
            _log.warn("{part!r}: a job is not built: {problem}", part=self._scheduler, problem=problem)
            return None
        return await self._scheduler.take(job)


__all__ = ["Try_Jobdir", "Try_Userpass"]
