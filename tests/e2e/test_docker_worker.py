"""Workers in containers, on a real Docker daemon."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException, NotFound

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Interpolate, Property
from buildbot.process.workers.latent import LatentManagedWorker, State
from buildbot.process.workers.manager import WorkerManager
from buildbot.steps.shell import ShellCommand
from buildbot.test.recording import Recording
from buildbot.test.running import until
from buildbot.util.results import EXCEPTION, RETRY, SUCCESS
from buildbot.worker.docker import DockerLatentWorker
from tests.support.reactor import run

pytestmark = pytest.mark.e2e
HOST = os.environ.get("TENFOLD_TEST_DOCKER") or "unix:///var/run/docker.sock"
#: of this process, since the tests of others may run at the same time
NAME = f"w{os.getpid()}"
IMAGE = f"tenfold-test-{os.getpid()}"
#: the program of a worker's image; it takes Python and the agent from the machine that it runs on
AGENT = """
import os
from buildbot_worker.bot import Worker
from twisted.internet import reactor
print("an agent starts", flush=True)
os.makedirs("/tmp/agent/info")
e = os.environ
Worker(e["BUILDMASTER"], int(e["BUILDMASTER_PORT"]), e["WORKERNAME"], e["WORKERPASS"], "/tmp/agent", 600,
       protocol=e["BUILDMASTER_PROTOCOL"]).startService()
reactor.run()
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Any]:
    """A client of the daemon, which has an image with nothing in it."""
    client = None
    try:
        client = docker.APIClient(HOST, version="auto", timeout=30)
        client.ping()
    except (DockerException, OSError) as problem:
        why = f"no Docker daemon to test on: {HOST} does not answer (TENFOLD_TEST_DOCKER names another): {problem}"
        if os.environ.get("CI") or os.environ.get("TENFOLD_REQUIRE_BACKENDS"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as files:
        directory = tarfile.TarInfo("tmp")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o777
        files.addfile(directory)
    client.import_image_from_data(tar.getvalue(), repository=IMAGE, tag="latest")
    yield client
    for image in client.images():
        for tag in image["RepoTags"] or ():
            if tag.startswith((IMAGE, f"buildbot-{NAME}-")):
                client.remove_image(tag, force=True)
    client.close()


class Farm:
    """A master's process layer with builder ``b`` on one worker in containers."""

    def __init__(self, *steps: Any, **arguments: Any) -> None:
        self.master = Recording()
        self.manager = WorkerManager(self.master)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        python = [sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64", "/bin", "/etc"]
        given = {
            "docker_host": HOST,
            "image": IMAGE,
            "command": [sys.executable, "-c", AGENT],
            "volumes": [f"{path}:{path}:ro" for path in dict.fromkeys(python) if Path(path).exists()],
            "hostconfig": {"network_mode": "host"},
            "masterFQDN": "127.0.0.1",
            "check_instance_interval": 0.2,
            "build_wait_timeout": 0,
        }
        self.worker = DockerLatentWorker(NAME, None, **{**given, **arguments})
        config = BuilderConfig(name="b", workernames=[NAME], factory=BuildFactory(steps))
        self.builder = Builder(self.master, config, 1, self.manager)
        protocols = {name: {"port": "tcp:0:interface=127.0.0.1"} for name in ("pb", "msgpack_experimental_v7")}
        self.config = MasterConfig(Path(), workers=[self.worker], builders=[config], protocols=protocols)

    @property
    def managed(self) -> LatentManagedWorker:
        managed = self.manager.workers[NAME]
        assert isinstance(managed, LatentManagedWorker)
        return managed

    async def build(self, **properties: Any) -> dict[str, Any]:
        """Run a build to its end, and that of its container; its row."""
        self.managed.quarantine.leave()
        request = await self.master.add_request("b", properties={name: (v, "t") for name, v in properties.items()})
        await self.builder.start_build(request, self.managed)
        buildid = self.master.newest()
        await self.master.until(lambda: not self.builder.running)
        await until(self.is_asleep)
        return self.master.build(buildid)

    async def is_asleep(self) -> bool:
        return self.managed.state is State.ASLEEP and self.managed._activity is None


@pytest.fixture
def farms() -> Iterator[list[Farm]]:
    made: list[Farm] = []
    yield made
    for farm in made:
        run(farm.manager.stop())


@pytest.mark.parametrize("protocol", ["pb", "msgpack_experimental_v7"])
async def test_builds_in_a_container(daemon: Any, farms: list[Farm], protocol: str) -> None:
    """A container is made for the build, with rendered arguments, and removed after it; one that an earlier master
    left behind is removed when the master begins.
    """
    step = ShellCommand(command="grep 'open files' /proc/self/limits")
    farm = Farm(
        step,
        master_protocol=protocol,
        image=Property("image"),
        labels={"branch": Interpolate("%(prop:branch_name)s")},
        hostconfig={"network_mode": "host", "ulimits": [{"name": "nofile", "soft": 512, "hard": 512}]},
        followStartupLogs=True,
    )
    farms.append(farm)
    await farm.manager.start(farm.config)
    name = farm.worker.getContainerName()
    await until(farm.is_asleep)
    seen: list[Any] = []
    attach = farm.managed.attach

    async def attached(connection: Any) -> None:
        seen.append(daemon.inspect_container(name))
        await attach(connection)

    farm.managed.attach = attached  # type: ignore[method-assign]
    build = await farm.build(image=IMAGE, branch_name="main")
    assert (build["results"], build["state_string"]) == (SUCCESS, "build successful")
    assert build["properties"]["builddir"][0] == "/tmp/agent/b"
    assert "512" in farm.master.text(2)
    (container,) = seen
    assert container["Config"]["Labels"] == {"branch": "main"} and container["Config"]["Image"] == IMAGE
    with pytest.raises(NotFound):
        daemon.inspect_container(name)
    left = daemon.create_container(IMAGE, ["/bin/sleep", "1000"], name=name)
    await farm.manager.stop()
    await farm.manager.start(farm.config)
    await until(farm.is_asleep)
    with pytest.raises(NotFound):
        daemon.inspect_container(left["Id"])


async def test_failures(daemon: Any, farms: list[Farm], tmp_path: Path) -> None:
    """No image, a program that ends, a wrong Dockerfile, no daemon: the build says so, and nothing is left."""
    farm = Farm(image=Property("image"), dockerfile=Property("dockerfile"), docker_host=Property("docker_host"))
    farms.append(farm)
    await farm.manager.start(farm.config)
    given = {"image": IMAGE, "docker_host": HOST, "dockerfile": f"FROM {IMAGE}\n"}
    nonsense = "FROM tenfold-none\nNONSENSE x\n"
    build = await farm.build(**{**given, "image": f"{IMAGE}-none:1", "dockerfile": nonsense})
    assert build["results"] == EXCEPTION and "unknown instruction: NONSENSE" in build["state_string"]
    build = await farm.build(**{**given, "docker_host": f"unix://{tmp_path}/none.sock"})
    assert build["results"] == RETRY
    assert build["state_string"].startswith(f"worker not available: Docker at unix://{tmp_path}/none.sock does not ans")
    build = await farm.build(**{**given, "image": ["x"]})
    assert build["results"] == EXCEPTION
    assert build["state_string"].startswith("worker cannot substantiate: image must be a text that is not empty")

    farm = Farm(image=f"{IMAGE}-none:1")
    farms.append(farm)
    await farm.manager.start(farm.config)
    build = await farm.build()
    assert build["results"] == EXCEPTION
    assert f"there is no image '{IMAGE}-none:1' at" in build["state_string"]

    farm = Farm(command=["/bin/sh", "-c", "echo no agent here; exit 7"])
    farms.append(farm)
    await farm.manager.start(farm.config)
    build = await farm.build()
    assert build["results"] == RETRY
    assert "its container ended with exit status 7 and printed last:\nno agent here" in build["state_string"]
    assert daemon.containers(all=True, filters={"name": f"buildbot-{NAME}-"}) == []


@pytest.mark.parametrize("custom", [False, True])
async def test_dockerfile(daemon: Any, farms: list[Farm], tmp_path: Path, custom: bool) -> None:
    """An image that is not there is made by the Dockerfile, its arguments and its context, once."""
    text = f"FROM {IMAGE}\nARG word=none\nENV GREETING=$word\n"
    given: dict[str, Any] = {"dockerfile": text, "buildargs": {"word": "hello"}}
    if custom:
        text += "COPY file /tmp/file\n"
        with tarfile.open(tmp_path / "context.tar.gz", "w:gz") as tar:
            for name, content in (("Dockerfile", text.encode()), ("file", b"copied\n")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        given |= {"dockerfile": str(tmp_path / "context.tar.gz"), "custom_context": True, "image": f"{IMAGE}-custom:1"}
    else:
        given["image"] = None
    farm = Farm(ShellCommand(command="echo got $GREETING; cat /tmp/file || true"), **given)
    farms.append(farm)
    await farm.manager.start(farm.config)
    build = await farm.build()
    assert build["results"] == SUCCESS
    assert "ogot hello\n" in farm.master.text(2) and ("ocopied\n" in farm.master.text(2)) == custom
