"""A step that syncs a Perforce depot to the worker."""

from __future__ import annotations

import ntpath
import posixpath
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.properties import Interpolate
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch, Source, is_secret_variable
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS

_REVISION = re.compile(r"[^-@#*%\s][^@#*%\s]*\Z")
_CHANGE = re.compile(r"^\.\.\. change (\d+)\s*$", re.MULTILINE)
_LINE_ENDS = ("local", "unix", "mac", "win", "share")


def _views(value: Any) -> Any:
    """Check pairs of a path in the depot and one in the client."""
    if isinstance(value, str):
        raise ValueError(f"must be a list of pairs, not {checks.kind(value)}")
    pairs = checks.sequence(value)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise ValueError("must be a list of pairs (path in the depot, path in the client)")
    return pairs


def _base(value: Any) -> Any:
    if not checks.text(value).startswith("//"):
        raise ValueError(f"must begin with '//', not {value!r}")
    if value.endswith("/") and value != "//":
        raise ValueError(f"must not end with a slash, but is {value!r}")
    return value


class P4(Source):
    """Sync the change of the build's source stamp, or the newest, and set ``got_revision`` to its number.

    The step creates or changes the client (workspace), as the arguments say.
    """

    positional: ClassVar[tuple[str, ...]] = ("mode",)

    name = "p4"
    p4base = argument(
        None, checks.optional(_base), rendered=True, doc="the path in the depot to sync: `//depot/project`"
    )
    p4branch = argument(None, checks.optional(checks.text), rendered=True, doc="appended to `p4base`, with a slash")
    p4extra_views = argument(
        (), _views, rendered=True, doc="more of the depot: a list of pairs (path in the depot, path in the client)"
    )
    p4viewspec = argument(
        None,
        checks.optional(_views),
        rendered=True,
        doc="the whole view, instead of these three: pairs of beginnings of paths in the depot and in the client",
    )
    p4viewspec_suffix = argument("...", checks.text, rendered=True, doc="the end of both paths of each of these pairs")
    p4port = argument(None, checks.optional(checks.text), rendered=True, doc="the server: `host:1666`")
    p4user = argument(None, checks.optional(checks.text), rendered=True, doc="the user to log in as")
    p4passwd = argument(
        None, checks.optional(checks.text), rendered=True, doc="the password; neither logs nor arguments of p4 show it"
    )
    p4client = argument(
        Interpolate("buildbot_%(prop:workername)s_%(prop:buildername)s"),
        checks.name,
        rendered=True,
        doc="the name of the client; one for each worker and builder",
    )
    p4client_spec_options = argument("allwrite rmdir", checks.text, rendered=True, doc="`Options` of the client")
    p4client_type = argument(None, checks.optional(checks.text), rendered=True, doc="`Type` of the client")
    p4line_end = argument("local", checks.one_of(*_LINE_ENDS), rendered=True, doc="`LineEnd` of the client")
    p4extra_args = argument(
        (), checks.optional(checks.list_of(checks.text)), rendered=True, doc="further arguments of `p4 sync`"
    )
    p4bin = argument("p4", checks.name, rendered=True, doc="the p4 program")
    use_tickets = argument(False, checks.flag, rendered=True, doc="log in with the password once, for a ticket")
    stream = argument(False, checks.flag, rendered=True, doc="`p4base/p4branch` is a stream")
    debug = argument(False, checks.flag, rendered=True, doc="show the client in the log")

    program: ClassVar[tuple[str, ...]] = ("p4",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__has_ticket = False
        for mistake in self.__mistakes():
            error(f"{type(self).__name__}: {mistake}")

    def __mistakes(self) -> list[str]:
        mistakes = []
        if self.p4viewspec is not None and (self.p4base or self.p4branch or self.p4extra_views):
            mistakes.append("give either p4viewspec, or p4base, p4branch and p4extra_views")
        if self.p4viewspec is None and self.p4base is None:
            mistakes.append("give p4base or p4viewspec")
        if self.stream is True and (self.p4extra_views or self.p4viewspec is not None):
            mistakes.append("a stream has neither p4extra_views nor p4viewspec")
        if self.stream is True and self.p4branch is None:
            mistakes.append("stream needs a p4branch")
        if self.use_tickets is True and self.p4passwd is None:
            mistakes.append("use_tickets needs a p4passwd")
        return mistakes

    def vc_arguments(self) -> Sequence[Any]:
        """The program, the server, the login and the client."""
        words: list[Any] = [self.p4bin]
        words += ["-p", self.p4port] if self.p4port else []
        words += ["-u", self.p4user] if self.p4user else []
        if self.p4passwd and not self.use_tickets and not is_secret_variable(self.p4passwd):
            words += ["-P", ("obfuscated", self.p4passwd, "XXXXXX")]
        return [*words, "-c", self.p4client]

    def without_secrets(self, text: str) -> str:
        """``text`` without the password."""
        shown = super().without_secrets(text)
        return shown.replace(self.p4passwd, "XXXXXX") if self.p4passwd else shown

    def short_revision(self, revision: str) -> str:
        """The whole number."""
        return revision

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Sync."""
        if revision is not None and not _REVISION.match(revision):
            raise BuildStepFailed(f"not the number of a change, nor a label: {revision!r}")
        if self.__secrets() and self.logEnviron:
            await self.vc("-V")  # shows the environment, which commands with the password do not
        if self.use_tickets:
            await self.__p4("login", stdin=f"{self.p4passwd}\n")
        spec = self.__client_spec()
        if self.debug:
            await self.addCompleteLog("client", spec)
        await self.__p4("client", "-i", stdin=spec)
        tree = f"//{self.p4client}/..."
        at = f"@{revision}" if revision else "#head"
        listed = await self.retried(lambda: self.__p4("-ztag", "changes", "-m1", f"{tree}{at}"))
        number = _CHANGE.search(listed.stdout)
        if number is None:
            raise BuildStepFailed(f"there is no change in {tree}{at}")
        extra = list(self.p4extra_args or ())
        directory = self.directory()
        if self.mode == "full" or await self.was_patched(directory):
            await self.__p4(*extra, "sync", "#none")
            await self.runRmdir(directory, self.timeout)
        await self.retried(lambda: self.__p4(*extra, "sync", f"{tree}@{number[1]}"))
        self.set_revision(number[1])
        await self.apply_patch(patch)
        return SUCCESS

    async def __p4(self, *words: str, stdin: str | None = None) -> RemoteShellCommand:
        """Run p4; it gets the password in its environment, since other users can read arguments."""
        return await self.vc(*words, stdin=stdin, secrets=self.__secrets())

    def __secrets(self) -> dict[str, str]:
        has_password = self.p4passwd and not self.use_tickets and is_secret_variable(self.p4passwd)
        return {"P4PASSWD": str(self.p4passwd)} if has_password else {}

    def __client_spec(self) -> str:
        info = self.build.connection.info
        rules = ntpath if info.get("system") == "nt" else posixpath
        root = rules.normpath(rules.join(self.getProperty("builddir", ""), self.directory()))
        lines = [
            f"Client: {self.p4client}\n",
            f"Owner: {self.p4user}\n" if self.p4user else "",
            f"Description:\n\tCreated by {self.p4user or 'the builds'}\n",
            f"Root:\t{root}\n",
            f"Options:\t{self.p4client_spec_options}\n",
            f"LineEnd:\t{self.p4line_end}\n",
            f"Type:\t{self.p4client_type}\n" if self.p4client_type else "",
            f"Stream:\t{self.__depot()}\n" if self.stream else "View:\n" + "".join(self.__view()),
        ]
        return "\n".join(line for line in lines if line)

    def __depot(self) -> str:
        base = str(self.p4base or "").rstrip("/")
        return f"{base}/{self.p4branch}" if self.p4branch else base

    def __view(self) -> list[str]:
        client = f"//{self.p4client}"
        if self.p4viewspec is not None:
            end = self.p4viewspec_suffix
            pairs = [(f"{depot}{end}", f"{client}/{path}{end}") for depot, path in self.p4viewspec]
        else:
            pairs = [(f"{self.__depot()}/...", f"{client}/...")]
            pairs += [(f"{depot}/...", f"{client}/{path}/...") for depot, path in self.p4extra_views]
        return [f"\t{_quoted(depot)} {_quoted(path)}\n" for depot, path in pairs]

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files; the next build syncs all files anew."""
        await self.patch_with_program(patch)


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
