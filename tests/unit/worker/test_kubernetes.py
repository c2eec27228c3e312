"""Workers in pods, with an imitation of Kubernetes' API by its documentation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from buildbot.config.errors import ConfigErrors
from buildbot.interfaces import LatentWorkerFailedToSubstantiate
from buildbot.plugins import util, worker
from buildbot.steps.shell import ShellCommand
from buildbot.test.running import Running
from buildbot.test.workers import LatentHarness
from buildbot.util.httpclient import HttpClient
from buildbot.util.results import EXCEPTION, RETRY, SUCCESS
from tests.e2e.agents import ReapedAtEnd
from tests.support.reactor import reactor

KubeLatentWorker: Any = worker.KubeLatentWorker
InCluster: Any = util.KubeInClusterConfigLoader
_Resource: Any = Resource  # has no types
_NOT_WELL = "worker not available: its instance is not well"


class Api(_Resource):  # type: ignore[misc]
    """The pods of a cluster; `lingers` is the number of requests for which a deleted pod still exists."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.pods: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[str | None] = []
        self.refuse: tuple[int, str] | None = None
        self.lingers = 0
        self.log = b""

    def render(self, request: Any) -> bytes:
        method, path = request.method.decode(), request.path.decode()
        query = request.uri.decode().partition("?")[2]
        self.asked.append((method, path.partition("/namespaces/")[2] + (f"?{query}" if query else "")))
        self.headers.append(request.getHeader("authorization"))
        name = path.partition("/pods/")[2].partition("/")[0]
        if self.refuse is not None and method == "POST":
            request.setResponseCode(self.refuse[0])
            return json.dumps({"kind": "Status", "message": self.refuse[1]}).encode()
        if method == "POST":
            pod = json.loads(request.content.read())
            self.pods[pod["metadata"]["name"]] = {**pod, "status": {"phase": "Pending"}}
            request.setResponseCode(201)
            return b"{}"
        if name not in self.pods:
            request.setResponseCode(404)
            return json.dumps({"kind": "Status", "message": f'pods "{name}" not found'}).encode()
        if path.endswith("/log"):
            return self.log
        pod = self.pods[name]
        if method == "DELETE" or pod.get("deleted"):
            pod["deleted"] = True
            if self.lingers == 0:
                del self.pods[name]
            self.lingers -= 1
        return json.dumps(pod).encode()


class Place:
    """A master with a worker in pods, and the cluster's API."""

    def __init__(self, kind: Any = KubeLatentWorker, **arguments: Any) -> None:
        self.api = Api()
        config = util.KubeHardcodedConfig("https://cluster:6443", bearerToken="token", namespace="ci")
        given = {"kube_config": config, "masterFQDN": "master:9989", "build_wait_timeout": 0, **arguments}
        self.farm = LatentHarness(kind("w_1", **given), ShellCommand(command="true"))
        agent: Any = RequestTraversalAgent(self.api)  # type: ignore[no-untyped-call]
        self.farm.master.httpservice = HttpClient(self.farm.clock, agent)

    @property
    def name(self) -> str:
        return str(self.farm.worker.getContainerName())


async def test_a_pod_for_a_build() -> None:
    """It is made with what the configuration and its subclass say, deleted after the build, and waited for until it is
    gone; one of an earlier master is deleted when the master begins."""

    class Mine(KubeLatentWorker):  # type: ignore[misc]
        def getBuildContainerResources(self, build: Any) -> Any:
            return {"requests": {"cpu": build.getProperty("cpus")}}

        async def getServicesContainers(self, build_props: Any) -> Any:
            return [{"name": "database", "image": "postgres"}]

        def get_volumes(self, build_props: Any) -> Any:
            return [{"name": "cache", "emptyDir": {}}]

    place = Place(Mine, image=util.Interpolate("worker:%(prop:version)s"))
    api, farm = place.api, place.farm
    await farm.start()
    pods = f"ci/pods/{place.name}"
    assert place.name.startswith("buildbot-w-1-")
    assert api.asked == [("DELETE", f"{pods}?gracePeriodSeconds=0")] and api.headers == ["Bearer token"]
    api.asked.clear()
    buildid = await farm.build(version="1", cpus=2)
    assert api.asked == [("DELETE", f"{pods}?gracePeriodSeconds=0"), ("POST", "ci/pods")]
    (pod,) = api.pods.values()
    agent, database = pod["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in agent["env"]}
    assert environment.pop("WORKERPASS")
    assert environment == {
        "BUILDMASTER": "master", "BUILDMASTER_PORT": "9989", "BUILDMASTER_PROTOCOL": "pb", "WORKERNAME": "w_1"
    }  # fmt: skip
    assert (agent["image"], agent["resources"]) == ("worker:1", {"requests": {"cpu": 2}})
    assert database["image"] == "postgres" and pod["spec"]["volumes"] == [{"name": "cache", "emptyDir": {}}]
    assert pod["spec"]["restartPolicy"] == "Never" and pod["kind"] == "Pod"
    farm.clock.advance(10)
    await farm.log_in()
    await farm.ended()
    assert farm.master.build(buildid)["results"] == SUCCESS
    api.lingers = 2
    api.asked.clear()
    farm.clock.advance(0)
    assert not farm.managed.worker.isConnected() and place.name in api.pods
    farm.clock.advance(1)
    farm.clock.advance(1)
    assert api.pods == {} and farm.managed.state.name == "ASLEEP"
    assert [method for method, _ in api.asked] == ["DELETE", "GET", "GET", "GET"]
    await farm.stop()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"phase": "Failed", "reason": "Evicted"}, "its pod ended, Failed (Evicted) and printed last:\nlast words"),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}]},
            "its pod does not start: ImagePullBackOff: no such tag",
        ),
        (None, "its pod is gone"),
    ],
)
async def test_a_pod_that_does_not_run(status: Any, text: str) -> None:
    """The next check finds it, with its last lines of output; the build is released."""
    place = Place()
    place.api.log = b"last words\n"
    await place.farm.start()
    buildid = await place.farm.build()
    if status is None:
        place.api.pods.clear()
    else:
        place.api.pods[place.name]["status"] = status
    place.farm.clock.advance(10)
    await place.farm.ended()
    build = place.farm.master.build(buildid)
    assert (build["results"], build["state_string"]) == (
        RETRY,
        f"worker not available: its instance is not well: {text}",
    )
    assert place.api.pods == {}
    await place.farm.stop()


async def test_what_the_cluster_refuses() -> None:
    """The build has the cluster's message; with a wrong image it ends with EXCEPTION."""
    place = Place(image=util.Property("image"))
    place.api.refuse = 403, "exceeded quota"
    await place.farm.start()
    build = place.farm.master.build(await place.farm.build(image="i"))
    assert build["results"] == RETRY
    assert build["state_string"] == "worker not available: Kubernetes answers 403 to the pod: exceeded quota"
    place.farm.clock.advance(10)
    build = place.farm.master.build(await place.farm.build())
    assert build["results"] == EXCEPTION
    assert build["state_string"] == "worker cannot substantiate: image must be a text, not None (NoneType)"
    await place.farm.stop()


async def test_a_pod_that_stays() -> None:
    """The worker stops waiting for a pod that exists a minute after its deletion."""
    place = Place()
    await place.farm.start()
    place.api.pods[place.name] = {}
    place.api.lingers = 1000
    buildid = await place.farm.build()
    for _ in range(63):
        place.farm.clock.advance(1)
    assert "still exists 60 s after" in place.farm.master.build(buildid)["state_string"]
    place.api.lingers = 0
    for _ in range(3):
        place.farm.clock.advance(1)
    await place.farm.stop()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: KubeLatentWorker("w"), "KubeLatentWorker 'w': argument 'kube_config' is missing"),
        (lambda: KubeLatentWorker("w", kube_config="x"), "kube_config must be a loader such as util.KubeInCluster"),
        (lambda: util.KubeHardcodedConfig(), "KubeHardcodedConfig: argument 'master_url' is missing"),
        (lambda: util.KubeHardcodedConfig("cluster"), "master_url must be a URL"),
        (lambda: util.KubeHardcodedConfig("http://c", basicAuth={"user": "u"}), "basicAuth must be {'user': …"),
        (
            lambda: util.KubeHardcodedConfig("http://c", bearerToken="t", basicAuth={"user": "u", "password": "p"}),
            "bearerToken and basicAuth are both given",
        ),
        (
            lambda: util.KubeHardcodedConfig("http://c", cert=3),
            "cert must be the path of a file, or those of certificate and key",
        ),
        (lambda: util.KubeCtlProxyConfigLoader(proxy_port="x"), "proxy_port must be a whole number, not 'x'"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)


async def test_hardcoded() -> None:
    """Token, Basic authentication and certificates become arguments of requests."""
    config = util.KubeHardcodedConfig(
        "https://c:1/", basicAuth={"user": "u", "password": util.Property("x", default="p")},
        verify="/ca", cert="/both", headers={"A": "b"},
    )  # fmt: skip
    access = await config.access()
    assert (access.url, access.auth, access.headers) == ("https://c:1", ("u", "p"), {"A": "b"})
    assert access.tls == {"verify": True, "ca_file": "/ca", "cert_file": "/both", "key_file": None}


async def test_in_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master in a pod finds token, certificate, namespace and address; elsewhere there is an error message."""

    class Loader(InCluster):  # type: ignore[misc]
        directory = tmp_path

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(LatentWorkerFailedToSubstantiate, match="this is no pod of a cluster"):
        await Loader().access()
    for name, content in (("token", "t\n"), ("namespace", "mine"), ("ca.crt", "")):
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    access = await Loader().access()
    assert (access.url, access.headers) == ("https://[fd00::1]:443", {"Authorization": "Bearer t"})
    assert access.tls == {"ca_file": str(tmp_path / "ca.crt")} and Loader().default_namespace() == "mine"


@pytest.mark.parametrize("fails", [False, True])
async def test_kubectl_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: Any, fails: bool) -> None:
    """One proxy serves all its users, and ends with the last one; its failure is passed on."""
    kubectl = tmp_path / "kubectl"
    said = "echo no cluster >&2; exit 1" if fails else 'echo "Starting to serve on 127.0.0.1:8001"; exec sleep 1000'
    kubectl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{said}\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    spawn = reactor.spawnProcess
    gone: Deferred[None] = Deferred()

    def spawned(protocol: Any, *args: Any, **kwargs: Any) -> Any:
        ended = protocol.processEnded

        def processEnded(reason: Any) -> None:
            ended(reason)
            gone.callback(None)

        protocol.processEnded = processEnded
        process = spawn(protocol, *args, **kwargs)
        if process.pid is not None:  # it may have ended already
            ReapedAtEnd(process.pid)
        return process

    monkeypatch.setattr(reactor, "spawnProcess", spawned)
    running = Running(master, reactor=reactor)
    loader = util.KubeCtlProxyConfigLoader(proxy_port=8123)
    if fails:
        with pytest.raises(LatentWorkerFailedToSubstantiate, match="kubectl proxy ended: no cluster"):
            await loader.open(running)
        await loader.close()
    else:
        await loader.open(running)
        await loader.open(running)
        assert (await loader.access()).url == "http://localhost:8123"
        await loader.close()
        assert not gone.called
        await loader.close()
    await gone
    assert (tmp_path / "calls").read_text() == "proxy --port=8123\n"
