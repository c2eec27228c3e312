"""How git logs in to servers from the master: files in a directory that is there for the time of a poll only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from buildbot.changes.git import Git
from buildbot.util.git_credential import AddressLogin, ssh_command


class GitLogin:
    """The files of a poller's logins; an asynchronous context, in which they are there and git uses them.

    The next poll removes the files of a killed master.

    Args:
        git: the git that logs in.
        directory: of the files; it is used for nothing else.
        files: texts for ssh by name: ``ssh-key``, ``ssh-known-hosts``.
        credentials: logins for HTTP, as `git credential` reads them.
        use_http_path: git's ``credential.useHttpPath``; None: as the master's account has it.
        address: the login in the repository's address; None: there is none.
    """

    def __init__(
        self,
        git: Git,
        directory: Path,
        files: Mapping[str, str],
        credentials: Sequence[str],
        use_http_path: bool | None = None,
        address: AddressLogin | None = None,
    ) -> None:
        self._git, self._directory = git, directory
        self._address = address
        self._files, self._credentials, self._use_http_path = files, credentials, use_http_path

    async def __aenter__(self) -> GitLogin:
        self._remove()
        if self._files or self._credentials or self._address is not None:
            try:
                await self._install()
            except BaseException:
                self._remove()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._git.options = []
        self._remove()

    async def _install(self) -> None:
        self._directory.parent.mkdir(parents=True, exist_ok=True)
        self._directory.mkdir(mode=0o700)
        paths = {name: self._write(name, text) for name, text in self._files.items()}
        options = []
        if paths:
            options += ["-c", f"core.sshCommand={ssh_command(paths.get('ssh-key'), paths.get('ssh-known-hosts'))}"]
        if self._credentials:
            store = f'store "--file={self._directory}/.git-credentials"'
            options += ["-c", "credential.helper=", "-c", f"credential.helper={store}"]
            if self._use_http_path is not None:
                options += ["-c", f"credential.useHttpPath={str(self._use_http_path).lower()}"]
        if self._address is not None:
            for name, text in self._address.files(str(self._directory)).items():
                self._write(name, text)
            options += ["-c", f"include.path={self._directory}/address-login"]
        self._git.options = options
        for text in self._credentials:
            await self._git.run("credential", "approve", stdin=text.encode())

    def _write(self, name: str, text: str) -> str:
        """Write a file that only the master's account can read; its path."""
        path = str(self._directory / name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _remove(self) -> None:
        if self._directory.exists():
            shutil.rmtree(self._directory)
