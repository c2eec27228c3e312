"""The configuration of workers in containers, without a daemon."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.test.workers import LatentHarness
from buildbot.worker import docker
from buildbot.worker.docker import DockerLatentWorker
from buildbot.worker.dockerdaemon import Container


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"docker_host": None}, "docker_host must be a text that is not empty, not None"),
        ({"image": None}, "give image, dockerfile or both"),
        ({"volumes": ["/here"]}, "volumes must hold texts such as '/host/path:/container/path', not '/here'"),
        ({"masterFQDN": "http://x"}, "masterFQDN must be a host or host:port"),
        ({"master_protocol": "pbb"}, "master_protocol must be one of 'pb', 'msgpack_experimental_v7', not 'pbb'"),
        ({"encoding": "zip"}, "encoding must be one of 'gzip', 'bzip', 'bzip2', 'xz', 'identity', not 'zip'"),
        ({"command": "sh"}, "command must be a list"),
        ({"hostconfig": ["x"]}, "hostconfig must be a dictionary"),
        ({"imag": "x"}, "unknown argument 'imag'; did you mean 'image'?"),
        ({"autopull": util.Property("x")}, "autopull must be known when the configuration is read"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name the worker."""
    with pytest.raises(ConfigErrors) as caught:
        DockerLatentWorker("w", None, **{"docker_host": "unix:///x", "image": "i", **arguments})
    assert f"DockerLatentWorker 'w': {complaint}" in str(caught.value)


def test_docker_host_is_needed() -> None:
    """``docker_host`` is a required argument."""
    with pytest.raises(ConfigErrors, match="DockerLatentWorker 'w': argument 'docker_host' is missing"):
        DockerLatentWorker("w", None, image="i")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the configuration has an error, which names the package to install."""
    monkeypatch.setattr(docker, "find_spec", lambda name: None)
    with pytest.raises(ConfigErrors, match=r"needs the package docker, which is not installed.*tenfold\[docker\]"):
        DockerLatentWorker("w", None, docker_host="unix:///x", image="i")


async def test_environment() -> None:
    """The agent's environment has the master's address, the worker's name and a password, made if none is given."""

    class Mine(DockerLatentWorker):
        def createEnvironment(self, build: Any = None) -> dict[str, str]:
            return {**super().createEnvironment(build), "MORE": "yes"}

        async def find_instance(self) -> bool:
            return False

    arguments = {"docker_host": "unix:///x", "image": "i", "masterFQDN": "[::1]:99"}
    farm = LatentHarness(Mine("w", None, **arguments))
    await farm.start()
    environment = farm.worker.createEnvironment()
    password = environment.pop("WORKERPASS")
    assert environment == {
        "BUILDMASTER": "::1",
        "BUILDMASTER_PORT": "99",
        "BUILDMASTER_PROTOCOL": "pb",
        "WORKERNAME": "w",
        "MORE": "yes",
    }
    assert len(password) == 20 and password == Mine("v", None, **arguments).password
    assert Mine("v", "given", **arguments).password == "given"
    name = farm.worker.getContainerName()
    assert name.startswith("buildbot-w-") and len(name) == len("buildbot-w-") + 6
    await farm.stop()


async def test_no_port() -> None:
    """Without a port for the agent's protocol the start fails, and the build has the reason."""

    class Mine(DockerLatentWorker):
        async def find_instance(self) -> bool:
            return False

    farm = LatentHarness(Mine("w", None, docker_host="unix:///x", image="i", master_protocol="msgpack_experimental_v7"))
    await farm.start()
    buildid = await farm.build()
    await farm.ended()
    text = farm.master.build(buildid)["state_string"]
    assert text.endswith("c['protocols'] has no port for msgpack_experimental_v7, the protocol of its agent")
    await farm.stop()


def test_names_of_images() -> None:
    """An image without a name gets one with a hash of its parts."""
    made: dict[str, Any] = {"name": "buildbot-w-1", "image": None, "environment": {}}
    names = [
        Container(dockerfile=text, target=target, buildargs=args, **made).image_name
        for text, target, args in (
            ("FROM a", "", None),
            ("FROM b", "", None),
            ("FROM a", "x", None),
            ("FROM a", "", {"b": 1}),
        )
    ]
    assert len(set(names)) == 4 and all(name.startswith("buildbot-w-1:") for name in names)
    assert Container(**{**made, "dockerfile": "FROM a", "image": "i"}).image_name == "i"
