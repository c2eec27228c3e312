"""Workers in containers of a Docker daemon, through the package ``docker``; its blocking calls run in threads."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import holds_renderable
from buildbot.util.threads import OneByOne, in_own_thread
from buildbot.worker.container import DockerBaseWorker
from buildbot.worker.latent import rendered_arguments

if TYPE_CHECKING:
    from buildbot.worker.dockerdaemon import Daemon

_log = Logger()

#: the arguments that decide whether an instance suits a build
RENDERED = (
    "docker_host",
    "image",
    "dockerfile",
    "volumes",
    "hostconfig",
    "custom_context",
    "encoding",
    "target",
    "buildargs",
    "hostname",
    "labels",
)


def _volumes(value: Any) -> list[str]:
    found: list[str] = checks.list_of(checks.text)(value)
    for each in found:
        if ":" not in each:
            raise ValueError(f"must hold texts such as '/host/path:/container/path', not {each!r}")
    return found


class DockerLatentWorker(DockerBaseWorker):
    """A container of a Docker daemon, made for builds and removed after them, with its volumes.

    It needs the package ``docker`` (``pip install 'tenfold[docker]'``), and `image` or `dockerfile`. The image runs an
    agent that reads `BUILDMASTER`, `BUILDMASTER_PORT`, `BUILDMASTER_PROTOCOL`, `WORKERNAME` and `WORKERPASS` from its
    environment.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "password", "docker_host")
    builds_may_be_incompatible = True
    docker_host = argument(
        REQUIRED, checks.name, renderable=True, doc="the daemon: `unix:///var/run/docker.sock`, `tcp://host:2375`"
    )
    image = argument(
        None,
        checks.optional(checks.name),
        renderable=True,
        doc="the image; None: one that `dockerfile` makes, with a name made of its content",
    )
    dockerfile = argument(
        None,
        checks.optional(checks.name),
        renderable=True,
        doc="the text of a Dockerfile, from which a missing image is built; with `custom_context` the path, on the "
        "master, of a tar file with the Dockerfile and the files that it copies",
    )
    command = argument(
        None, checks.optional(checks.list_of(checks.text)), doc="the command of the container; None: the image's"
    )
    volumes = argument(
        None,
        checks.optional(_volumes),
        renderable=True,
        doc="directories of the daemon's machine: `/there:/here`, also `:ro`",
    )
    hostconfig = argument(
        None,
        checks.optional(checks.mapping),
        renderable=True,
        doc="limits and devices of the container: arguments of `docker.APIClient.create_host_config`, as in "
        "`{'mem_limit': '2g', 'network_mode': 'host'}`",
    )
    hostname = argument(None, checks.optional(checks.name), renderable=True, doc="the container's host name")
    labels = argument(None, checks.optional(checks.mapping), renderable=True, doc="labels of the container")
    autopull = argument(False, checks.boolean, doc="whether a missing image is pulled from its registry")
    alwaysPull = argument(
        False,
        checks.boolean,
        doc="whether the image (with `autopull`) or the base of `dockerfile` is pulled before each start",
    )
    custom_context = argument(
        False, checks.boolean, renderable=True, doc="whether `dockerfile` is the path of a tar file"
    )
    encoding = argument(
        "gzip",
        checks.one_of("gzip", "bzip", "bzip2", "xz", "identity"),
        renderable=True,
        doc="the compression of the tar file; `identity`: none",
    )
    target = argument(
        "", checks.text, renderable=True, doc="the stage of the Dockerfile that is built; empty: the last one"
    )
    buildargs = argument(
        None, checks.optional(checks.mapping), renderable=True, doc="values for `ARG` of the Dockerfile"
    )
    version = argument(
        None, checks.optional(checks.name), doc="the version of the daemon's API; None: the daemon is asked for it"
    )
    tls = argument(None, doc="a `docker.tls.TLSConfig` for the connection to the daemon, or True")
    followStartupLogs = argument(
        False,
        checks.boolean,
        doc="whether the container's output goes to the master's log until its agent is connected",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        called = f"{type(self).__name__} {self.name!r}"
        if find_spec("docker") is None:
            error(f"{called} needs the package docker, which is not installed: pip install 'tenfold[docker]'")
        if self.image is None and self.dockerfile is None:
            error(f"{called}: give image, dockerfile or both")
        self.__daemon: Daemon | None = None
        self.__calls = OneByOne()

    async def renderWorkerProps(self, build_props: Any) -> dict[str, Any]:
        """The arguments that decide whether an instance suits a build, rendered and checked."""
        return await rendered_arguments(self, RENDERED, build_props)

    async def start_instance(self, build: Any) -> bool:
        """Start a container; see `AbstractLatentWorker.start_instance`."""
        from buildbot.worker.dockerdaemon import Container, Daemon

        wanted = await self.renderWorkerPropsOnBuild(build)
        container = Container(
            name=self.getContainerName(),
            environment=self.createEnvironment(build),
            command=self.command,
            autopull=self.autopull,
            always_pull=self.alwaysPull,
            **{name: wanted[name] for name in RENDERED if name != "docker_host"},
        )
        self.__daemon = Daemon(wanted["docker_host"], self.version, self.tls, self.missing_timeout or None)
        await self.__calls.call(self.__daemon.start, container)
        if self.followStartupLogs:
            followed = in_own_thread(self.__daemon.follow, self.getContainerName(), self.__said, self.isConnected)
            followed.addErrback(lambda failure: _log.failure("the container's output is not followed", failure))
        return True

    def __said(self, line: str) -> None:
        _log.info("worker {name}: output of its container: {line}", name=self.name, line=line)

    async def check_instance(self) -> tuple[bool, str]:
        """Whether the container runs; if not, how it ended and what it printed last."""
        if self.__daemon is None:
            return True, ""
        problem = await self.__calls.call(self.__daemon.problem_of, self.getContainerName())
        return problem is None, problem or ""

    async def stop_instance(self, fast: bool = False) -> None:
        """Remove the container; see `AbstractLatentWorker.stop_instance`."""
        daemon, self.__daemon = self.__daemon, None
        self.resetWorkerPropsOnBuild()
        if daemon is not None:
            await self.__calls.call(daemon.remove, self.getContainerName(), fast)

    async def find_instance(self) -> bool:
        """Remove a container that an earlier master left behind: its agent may know another password."""
        if not holds_renderable(self.docker_host):
            from buildbot.worker.dockerdaemon import Daemon

            await self.__calls.call(
                Daemon(self.docker_host, self.version, self.tls).remove, self.getContainerName(), True
            )
        return False
