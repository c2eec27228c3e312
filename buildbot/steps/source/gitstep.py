"""Base classes of steps that run git."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.config.gitlogin import login_arguments
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import VersionControl, address, hidden_password
from buildbot.steps.source.gitlogin import GitLogin
from buildbot.util.git_credential import address_login, login_texts, ssh_files, ssh_mistakes
from buildbot.util.urls import web_login, without_password

#: settings of git that override the worker's own configuration. Submodules are not fetched before they are checked out:
#: a commit of theirs may be missing. No work goes on in the background: its locks would be in the way of the next build
_CONFIG = {
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
}


class GitStep(VersionControl):
    """A step that runs git in a directory of the worker."""

    program = ("git",)
    #: time for git to remove its lock files
    sigterm_time_s: ClassVar[float | None] = 1
    config = argument(
        None, checks.optional(checks.mapping), rendered=True, doc="`{name: value}` given to git as `-c name=value`"
    )

    def vc_arguments(self) -> Sequence[Any]:
        """The git command with its configuration."""
        config = {**_CONFIG, **(self.config or {})}
        return [*self.program, *(word for name, value in config.items() for word in ("-c", f"{name}={value}"))]

    def vc_environment(self) -> Mapping[str, Any]:
        """No questions on a terminal, and messages in English, by which the steps tell failures apart."""
        return {"GIT_TERMINAL_PROMPT": "0", "LANGUAGE": "en"}


class GitServerStep(GitStep):
    """A step that runs git with a server."""

    repourl = argument(REQUIRED, address, rendered=True, doc="address of the repository")
    port = argument(22, checks.whole_number(1), rendered=True, doc="the server's port for ssh, if `repourl` has none")
    sshPrivateKey, sshHostKey, sshKnownHosts, auth_credentials, git_credentials = login_arguments(
        "on the worker for the time of the step", "other addresses, those of submodules for example", rendered=True
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__login: GitLogin | None = None
        for mistake in ssh_mistakes(self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts):
            error(f"{type(self).__name__}: {mistake}")

    def vc_arguments(self) -> Sequence[Any]:
        """The git command with its configuration and logins."""
        return [*super().vc_arguments(), *(self.__login.options if self.__login is not None else ())]

    async def login(self) -> GitLogin:
        """The logins as a context for ``async with``, in which git commands use them.

        Raises:
            BuildStepFailed: a renderable has a value that cannot be used.
        """
        given = self.git_credentials
        try:
            files = ssh_files(self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts)
            url = without_password(self.repourl or "")  # GitDiffInfo need not have one
            credentials = await login_texts(given, self.auth_credentials, url, self.render)
            address = address_login(self.repourl or "", self.auth_credentials)
        except ValueError as problem:
            raise BuildStepFailed(str(problem)) from None
        self.__login = GitLogin(
            self,
            files,
            credentials=credentials,
            use_http_path=None if given is None else given.use_http_path,
            port=self.port,
            address=address,
        )
        return self.__login

    def server_url(self) -> Any:
        """The address as an argument for `VersionControl.vc`.

        It is without the login of an HTTP address, which git gets from files of `login`; a password of another address
        is hidden from logs.
        """
        return hidden_password(self.repourl) if web_login(self.repourl) is None else without_password(self.repourl)
