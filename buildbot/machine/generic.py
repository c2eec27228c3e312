"""Machines that are started and stopped by an action: a program here, a command by ssh, or an HTTP request."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from buildbot.config import checks, requests
from buildbot.config.arguments import REQUIRED, Declared, argument, arguments_of
from buildbot.interfaces import holds_renderable
from buildbot.machine.latent import AbstractLatentMachine
from buildbot.process.configured import Configured
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.httpproxies import Proxies
from buildbot.util.runprocess import TIMED_OUT, run_process

#: seconds that a program may take
TIMEOUT_S = 120.0
#: ssh's messages on a lost connection; a machine that is put to sleep causes one
_GONE = re.compile(r"closed by|not responding|broken pipe|reset by peer", re.IGNORECASE)
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-]?)(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}\Z")


class MachineActionError(Exception):
    """The start or stop of a machine failed; the message names the action and the reason."""


def _mac(value: Any) -> str:
    if not isinstance(value, str) or not _MAC.match(value):
        raise ValueError(f"must be the address of a network card such as '00:11:22:aa:bb:cc', not {checks.kind(value)}")
    return value


def _command(value: Any) -> list[str]:
    words = [value] if isinstance(value, str) else checks.list_of(checks.text)(value)
    if not words or not words[0]:
        raise ValueError(f"must be a program and its arguments, not {checks.kind(value)}")
    return words


def _action(value: Any) -> Any:
    if isinstance(value, type) or not callable(getattr(value, "perform", None)):
        raise ValueError(f"must be an action such as machine.generic.LocalWOLAction(…), not {checks.kind(value)}")
    return value


class GenericLatentMachine(AbstractLatentMachine):
    """A machine that is started by one action and stopped by another.

    An action has a method ``perform(machine)``. It gives False or raises if it failed; it may give a Deferred or be a
    coroutine.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "start_action", "stop_action")
    start_action = argument(REQUIRED, _action, doc="the action that starts the machine")
    stop_action = argument(REQUIRED, _action, doc="the action that stops it")

    def start_machine(self) -> Any:
        """Perform the start action; its result."""
        return self.start_action.perform(self)

    def stop_machine(self) -> Any:
        """Perform the stop action; its result."""
        return self.stop_action.perform(self)


class Action(Configured, Declared):
    """An action that starts or stops a machine."""

    def perform(self, manager: Any) -> Any:
        """Perform the action.

        Args:
            manager: the machine, which is a service of the running master.

        Returns:
            Deferred with True.

        Raises:
            MachineActionError: it failed.
        """
        raise NotImplementedError

    async def values(self, manager: Any, *names: str) -> list[Any]:
        """The values of arguments by name, in this order, with secrets rendered.

        Raises:
            ValueError: a rendered value is not allowed; the message names the argument, not the value.
        """
        values: list[Any] = await resolved(manager.renderSecrets([getattr(self, name) for name in names]))
        for place, name in enumerate(names):
            if holds_renderable(getattr(self, name)):
                try:
                    values[place] = arguments_of(type(self))[name].check(values[place])
                except ValueError:
                    raise ValueError(f"{type(self).__name__}: {name} has a value that is not allowed") from None
        return values


class LocalWakeAction(Action):
    """Run a program on the master's machine."""

    positional: ClassVar[tuple[str, ...]] = ("command",)
    command = argument(REQUIRED, _command, renderable=True, doc="the program and its arguments, without a shell")

    @deferred
    async def perform(self, manager: Any) -> bool:
        """Run the program; see `Action.perform`."""
        (command,) = await self.values(manager, "command")
        await _run(manager, command)
        return True


class LocalWOLAction(Action):
    """Wake a machine by its network card (*wake on LAN*), from the master's machine."""

    positional: ClassVar[tuple[str, ...]] = ("wakeMac", "wolBin")
    wakeMac = argument(REQUIRED, _mac, renderable=True, doc="the address of the network card")
    wolBin = argument(
        "wakeonlan", checks.name, renderable=True, doc="the program that wakes the machine with this address"
    )

    @deferred
    async def perform(self, manager: Any) -> bool:
        """Run the program; see `Action.perform`."""
        mac, program = await self.values(manager, "wakeMac", "wolBin")
        await _run(manager, [program, mac])
        return True


class SshAction(Action):
    """Run a command on another machine, by the program ``ssh``."""

    #: whether a lost connection is a success: the command may put the machine to sleep
    may_lose_connection: ClassVar[bool] = False

    host = argument(REQUIRED, checks.name, renderable=True, doc="the machine, or `user@machine`")
    sshBin = argument("ssh", checks.name, renderable=True, doc="the program")
    sshKey = argument(None, checks.optional(checks.text), renderable=True, doc="the text of the private key")
    sshHostKey = argument(
        None,
        checks.optional(checks.text),
        renderable=True,
        doc="the public key of the machine, such as `ssh-ed25519 AAAA…`; None: it is in the account's `known_hosts`",
    )

    async def remote_command(self, manager: Any) -> list[str]:
        """The command on the other machine, with its arguments."""
        (command,) = await self.values(manager, "remoteCommand")
        return list(command)

    @deferred
    async def perform(self, manager: Any) -> bool:
        """Run the command; see `Action.perform`."""
        host, program, key, host_key = await self.values(manager, "host", "sshBin", "sshKey", "sshHostKey")
        command = await self.remote_command(manager)
        words = [program, "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        directory = Path(tempfile.mkdtemp(prefix="machine-"))
        try:
            if key is not None:
                words += ["-i", _write(directory / "ssh-key", key)]
            if host_key is not None:
                known = f"{host.rpartition('@')[2]} {host_key.strip()}\n"
                words += ["-o", f"UserKnownHostsFile={_write(directory / 'ssh-known-hosts', known)}"]
            await _run(manager, [*words, host, *command], self.may_lose_connection)
        finally:
            shutil.rmtree(directory)
        return True


class RemoteSshWakeAction(SshAction):
    """Run a command on another machine, which wakes this one."""

    positional: ClassVar[tuple[str, ...]] = ("host", "remoteCommand", "sshBin", "sshKey", "sshHostKey")
    remoteCommand = argument(REQUIRED, _command, renderable=True, doc="the command and its arguments")


class RemoteSshWOLAction(SshAction):
    """Wake a machine by its network card (*wake on LAN*), from another machine of its network."""

    positional: ClassVar[tuple[str, ...]] = ("host", "wakeMac", "wolBin", "sshBin", "sshKey", "sshHostKey")
    wakeMac = argument(REQUIRED, _mac, renderable=True, doc="the address of the network card")
    wolBin = argument(
        "wakeonlan", checks.name, renderable=True, doc="the program that wakes the machine with this address"
    )

    async def remote_command(self, manager: Any) -> list[str]:
        """The wake-on-LAN program and the address."""
        return await self.values(manager, "wolBin", "wakeMac")


class RemoteSshSuspendAction(SshAction):
    """Put a machine to sleep by a command on it; the lost connection is no failure."""

    may_lose_connection = True
    positional: ClassVar[tuple[str, ...]] = ("host", "remoteCommand", "sshBin", "sshKey", "sshHostKey")
    remoteCommand = argument(
        ("systemctl", "suspend"),
        lambda value: ["systemctl", "suspend"] if value is None else _command(value),
        renderable=True,
        doc="the command and its arguments",
    )


class HttpAction(requests.RequestArguments, Action):
    """Send a request to a web server; a status below 400 is success."""

    positional: ClassVar[tuple[str, ...]] = ("url", "method")
    method = argument(REQUIRED, checks.name, rendered=True, doc="`GET`, `POST` and so on")
    timeout = argument(
        None,
        checks.optional(requests.timeout),
        rendered=True,
        doc="seconds for the whole exchange; None: two minutes",
    )

    @deferred
    async def perform(self, manager: Any) -> bool:
        """Send the request; see `Action.perform`."""
        names = (
            "url",
            "method",
            "params",
            "data",
            "json",
            "headers",
            "cookies",
            "files",
            "auth",
            "timeout",
            "allow_redirects",
            "proxies",
        )
        url, method, params, data, json, headers, cookies, files, auth, timeout, follow, proxies = await self.values(
            manager, *names
        )
        answer = await manager.master.httpservice.request(
            method,
            url,
            params=params,
            headers=headers,
            cookies=cookies,
            json=... if json is None else json,
            data=data,
            files=files,
            auth=auth,
            timeout_s=timeout or TIMEOUT_S,
            follow_redirects=method.upper() == "GET" if follow is None else bool(follow),
            follow_any=bool(follow),
            proxies=Proxies.of(proxies) if proxies else None,
        )
        if answer.status >= 400:
            raise MachineActionError(f"{answer.where} answers {answer.status}")
        return True


def _write(path: Path, text: str) -> str:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w", encoding="utf-8") as file:
        file.write(text if text.endswith("\n") else f"{text}\n")
    return str(path)


async def _run(manager: Any, command: Sequence[str], may_lose_connection: bool = False) -> None:
    """Run a program; MachineActionError if it fails."""
    program = command[0]
    if shutil.which(program) is None:
        raise MachineActionError(f"there is no program {program!r}")
    code, output, errors = await run_process(manager.master.reactor, command, runtime_timeout=TIMEOUT_S)
    said = " ".join((errors or output).decode("utf-8", "replace").split())[-300:]
    if code == 0 or (may_lose_connection and code == 255 and _GONE.search(said)):
        return
    how = f"took longer than {TIMEOUT_S:g} s" if code == TIMED_OUT else f"ended with {code}"
    raise MachineActionError(f"{Path(program).name} {how}: {said or 'no message'}")


__all__ = [
    "GenericLatentMachine",
    "HttpAction",
    "LocalWOLAction",
    "LocalWakeAction",
    "MachineActionError",
    "RemoteSshSuspendAction",
    "RemoteSshWOLAction",
    "RemoteSshWakeAction",
]
