"""A worker inside the test's process: it runs the commands of steps in a directory, one at a time, as an agent does.

Steps are tested with it on real programs and servers in milliseconds; `tests/e2e` has the tests with real agents.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording, now
from buildbot.test.steps import Answer, ScriptedConnection
from buildbot.util.results import RETRY, SUCCESS
from buildbot.worker.base import Worker


class LocalConnection(ScriptedConnection):
    """An agent whose base directory is ``basedir``; `on_command` is called with each command before it runs."""

    def __init__(self, basedir: Path, builder: str) -> None:
        super().__init__(self._run)
        self.basedir = basedir
        self.directory = basedir / builder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SSH_", "HG"))
        }
        self.on_command: Any = lambda name, args: None
        #: the arguments of all processes so far, which other users of a machine can read
        self.arguments: list[str] = []

    async def get_info(self) -> dict[str, Any]:
        self.info = {"version": "4.3.0", "system": "posix", "basedir": str(self.basedir)}
        return self.info

    def _run(self, name: str, args: dict[str, Any]) -> Answer:
        self.on_command(name, args)
        command: Any = getattr(self, f"_{name}")
        try:
            answer: Answer = command(args)
        except OSError as problem:
            return [("header", f"{problem}\n")], problem.errno or 1
        return answer

    def _shell(self, args: dict[str, Any]) -> Answer:
        directory = self.directory / args["workdir"]
        directory.mkdir(parents=True, exist_ok=True)
        command = args["command"]
        shown = command
        if isinstance(command, list):
            shown = " ".join(str(word[2] if isinstance(word, tuple) else word) for word in command)
            command = [str(word[1] if isinstance(word, tuple) else word) for word in command]
        self.arguments += command if isinstance(command, list) else [command]
        environment = dict(self.environment)
        for key, value in (args["env"] or {}).items():
            environment[key] = value if isinstance(value, str) else os.pathsep.join(value)
        header = f"{shown}\n in dir {directory}\n argv: {shown}\n"
        if args["logEnviron"]:
            header += "".join(f"  {key}={value}\n" for key, value in sorted(environment.items()))
        updates: list[tuple[str, Any]] = [("header", header)]
        with subprocess.Popen(
            command,
            cwd=directory,
            shell=isinstance(command, str),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                output = process.communicate(args["initial_stdin"] or "", timeout=args["timeout"])
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output = process.communicate()
                updates.append(("failure_reason", "timeout_without_output"))
        for stream, text in zip(("stdout", "stderr"), output, strict=True):
            if text:
                updates.append((stream, text if text.endswith("\n") else f"{text}\n"))
        return updates, process.returncode

    def _mkdir(self, args: dict[str, Any]) -> Answer:
        (self.directory / args["dir"]).mkdir(parents=True, exist_ok=True)
        return [], 0

    def _rmdir(self, args: dict[str, Any]) -> Answer:
        for each in args["dir"] if isinstance(args["dir"], list) else [args["dir"]]:
            path = self.directory / each
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return [], 0

    def _cpdir(self, args: dict[str, Any]) -> Answer:
        shutil.copytree(self.directory / args["fromdir"], self.directory / args["todir"], symlinks=True)
        return [], 0

    def _stat(self, args: dict[str, Any]) -> Answer:
        return [("stat", tuple(os.stat(self.directory / args.get("workdir", "") / args["file"])))], 0

    def _glob(self, args: dict[str, Any]) -> Answer:
        return [("files", glob.glob(str(self.directory / args["path"]), recursive=True))], 0

    def _listdir(self, args: dict[str, Any]) -> Answer:
        return [("files", os.listdir(self.directory / args["dir"]))], 0

    def _downloadFile(self, args: dict[str, Any]) -> Answer:
        path = self.directory / args["workdir"] / args["workerdest"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if args["mode"] is not None:
                path.chmod(args["mode"])
            while data := now(args["reader"].read(args["blocksize"])):
                file.write(data)
        now(args["reader"].close())
        return [], 0

    def _uploadFile(self, args: dict[str, Any]) -> Answer:
        now(args["writer"].write((self.directory / args["workdir"] / args["workersrc"]).read_bytes()))
        now(args["writer"].close())
        return [], 0


class LocalFarm:
    """One builder, ``runtests``, and one worker, ``w1``, whose directory is ``tmp_path/w1``."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.master = Recording()
        self.manager = WorkerManager(self.master)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        self.connection = LocalConnection(tmp_path / "w1", "runtests")
        self.builder: Builder

    @property
    def directory(self) -> Path:
        """The directory of the builder's work."""
        return self.connection.directory / "build"

    async def start(self, *steps: Any, **builder: Any) -> None:
        """The builder begins, with these steps; the worker connects."""
        config = BuilderConfig(name="runtests", workernames=["w1"], factory=BuildFactory(steps), **builder)
        await self.manager.start(MasterConfig(Path(), workers=[Worker("w1", "pass")], builders=[config], protocols={}))
        self.builder = Builder(self.master, config, 1, self.manager)
        await self.manager.workers["w1"].attach(self.connection)

    async def build(self, **stamp: Any) -> int:
        """Start a build of a new request; its id."""
        request = await self.master.add_request("runtests", **stamp)
        await self.builder.start_build(request, self.manager.workers["w1"])
        return self.master.newest()

    def ended(self) -> Deferred[None]:
        """Fires when nothing is being built any more."""
        return self.master.until(lambda: not self.builder.running)

    async def stop(self) -> None:
        """Nothing is left running."""
        if hasattr(self, "builder"):  # a test that was skipped has not started it
            await self.builder.stop_all("the test ends", RETRY)
        await self.manager.stop()


async def built(farm: LocalFarm, **stamp: Any) -> tuple[int, str]:
    """Build; the build's result, and the text of its first step."""
    buildid = await farm.build(**stamp)
    await farm.ended()
    return farm.master.build(buildid)["results"], farm.master.steps(buildid)[1]["state_string"]


async def checked_out(farm: LocalFarm, **stamp: Any) -> tuple[str | None, str]:
    """Build with a source step first; ``got_revision`` (None if the step failed), and the step's text."""
    buildid = await farm.build(**stamp)
    await farm.ended()
    row, step = farm.master.build(buildid), farm.master.steps(buildid)[1]
    found = row["properties"].get("got_revision", (None,))[0] if step["results"] == SUCCESS else None
    assert (row["results"] == SUCCESS) == (found is not None), step["state_string"]
    return found, step["state_string"]
