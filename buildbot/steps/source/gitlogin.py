"""Logins of git on a worker: files beside the builder's directory, which exist during a step only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import TracebackType

from twisted.logger import Logger

from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.step import BuildStepFailed
from buildbot.process.workers.connection import RemoteError, WorkerLostError
from buildbot.steps.source.base import VersionControl
from buildbot.util.git_credential import AddressLogin, ssh_command

_log = Logger()


class GitLogin:
    """An asynchronous context in which the files of a step's logins are on the worker.

    They are removed at the end of the step, also if it is stopped. If the connection is lost, the worker keeps them
    until the next build of the builder, which removes them first.

    Args:
        step: the step that runs git.
        files: the content of files for ssh by name: ``ssh-key``, ``ssh-known-hosts``.
        credentials: logins for HTTP, as `git credential` reads them.
        use_http_path: git's ``credential.useHttpPath``; None: the worker's own setting.
        port: the TCP port of ssh.
        address: the login in the repository's address; None: there is none.

    Attributes:
        options: options of git by which it uses the logins.
    """

    def __init__(
        self,
        step: VersionControl,
        files: Mapping[str, str],
        credentials: Sequence[str] = (),
        use_http_path: bool | None = None,
        port: int = 22,
        address: AddressLogin | None = None,
    ) -> None:
        self._step = step
        self._files = files
        self._credentials = credentials
        self._use_http_path = use_http_path
        self._port = port
        self._address = address
        self._there = False
        self.options: list[str] = []

    async def __aenter__(self) -> GitLogin:
        try:
            await self._install()
        except BaseException:
            await self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.options = []
        if not await self._remove() and problem is None:
            raise BuildStepFailed(f"the files of the login are still on the worker, in {self._directory()}")

    def _directory(self) -> str:
        """The directory of the files: an absolute path, since git runs in several directories; with slashes for ssh."""
        step = self._step
        basedir = step.build.connection.info.get("basedir")
        if not isinstance(basedir, str):
            raise BuildStepFailed("the worker does not say where its directory is, so a key cannot be put there")
        place = re.sub(r"[^\w.-]", "_", f"{step.build.builder.config.workerbuilddir}.{step.directory()}")
        return f"{basedir}/.{place}.buildbot".replace("\\", "/")

    async def _install(self) -> None:
        if self._port != 22 and not self._files:
            self.options += ["-c", f"core.sshCommand={ssh_command(None, None, self._port)}"]
        if not self._files and not self._credentials and self._address is None:
            return
        directory = self._directory()
        self._there = True
        await self._step.runRmdir(directory)  # files from before a lost connection
        await self._step.runMkdir(directory)
        for name, text in self._files.items():
            await self._step.write_file(f"{directory}/{name}", text, mode=0o400)
        if self._files:
            paths = {name: f"{directory}/{name}" for name in self._files}
            command = ssh_command(paths.get("ssh-key"), paths.get("ssh-known-hosts"), self._port)
            self.options += ["-c", f"core.sshCommand={command}"]
        if self._credentials:
            store = f'store "--file={directory}/.git-credentials"'
            self.options += ["-c", "credential.helper=", "-c", f"credential.helper={store}"]
            if self._use_http_path is not None:
                self.options += ["-c", f"credential.useHttpPath={str(self._use_http_path).lower()}"]
        if self._address is not None:
            for name, text in self._address.files(directory).items():
                await self._step.write_file(f"{directory}/{name}", text, mode=0o400)
            self.options += ["-c", f"include.path={directory}/address-login"]
        for text in self._credentials:
            await self._step.vc("credential", "approve", stdin=text, log=None, directory=directory)

    async def _remove(self) -> bool:
        """Remove the files, also after the step was stopped; whether they are gone."""
        if not self._there:
            return True
        build, directory = self._step.build, self._directory()
        command = RemoteCommand("rmdir", {"dir": directory, "logEnviron": False, "timeout": 120}, stdioLogName=None)
        try:
            await command.run(build.connection, build.builder.name)
        except (WorkerLostError, RemoteError) as problem:
            _log.warn("{step}: {directory} may still be there: {problem}", step=self._step, directory=directory,
                      problem=problem)  # fmt: skip
            return False
        self._there = command.didFail()
        return not self._there
