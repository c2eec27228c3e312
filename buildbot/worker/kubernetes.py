"""Workers in pods of a Kubernetes cluster, through its HTTP API."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate, holds_renderable
from buildbot.util.deferreds import asyncSleep, resolved
from buildbot.util.httpclient import Answer, NoAnswerError, TooLargeError
from buildbot.worker.container import DockerBaseWorker
from buildbot.worker.kubeconfig import KubeConfigLoaderBase, message_of

#: seconds until a deleted pod must be gone, and between requests for its state
GONE_S, LOOK_S = 60.0, 1.0
#: the number of last lines shown of the log of a pod that ended
SHOWN_LINES = 10
#: reasons for which a container waits and that need a person to change something
_STUCK = (
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
)


def _loader(value: Any) -> KubeConfigLoaderBase:
    if not isinstance(value, KubeConfigLoaderBase):
        raise ValueError(f"must be a loader such as util.KubeInClusterConfigLoader(), not {checks.kind(value)}")
    return value


class KubeLatentWorker(DockerBaseWorker):
    """A pod of a Kubernetes cluster, made for builds and deleted after them.

    The image runs an agent that reads `BUILDMASTER`, `BUILDMASTER_PORT`, `BUILDMASTER_PROTOCOL`, `WORKERNAME` and
    `WORKERPASS` from its environment. Subclasses may override ``getPodSpec`` and the methods that it calls.
    """

    positional: ClassVar[tuple[str, ...]] = ("name",)
    builds_may_be_incompatible = True
    image = argument("buildbot/buildbot-worker", checks.name, renderable=True, doc="the image of the agent's container")
    namespace = argument(
        None, checks.optional(checks.name), renderable=True, doc="the namespace of the pod; None: that of `kube_config`"
    )
    kube_config = argument(
        REQUIRED, _loader, doc="the cluster and the login: a loader such as `util.KubeInClusterConfigLoader()`"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__namespace: str | None = None
        self.__opened = False

    # parts of the pod, for subclasses; each method may return a Deferred or be a coroutine

    def getBuildContainerResources(self, build: Any) -> Any:
        """Requests and limits of the agent's container, in the form of Kubernetes' ``resources``."""
        return {}

    def get_build_container_volume_mounts(self, build_props: Any) -> Any:
        """The mount points of the pod's volumes in the agent's container."""
        return []

    def get_volumes(self, build_props: Any) -> Any:
        """The pod's volumes."""
        return []

    def get_node_selector(self, build_props: Any) -> Any:
        """Labels of the nodes on which the pod may run."""
        return {}

    def get_affinity(self, build_props: Any) -> Any:
        """The pod's ``affinity``: which nodes it prefers, and beside which pods."""
        return {}

    def getServicesContainers(self, build_props: Any) -> Any:
        """Further containers of the pod, such as a database."""
        return []

    async def getPodSpec(self, build: Any) -> dict[str, Any]:
        """The description of the pod, in the form of the API."""
        image = (await self.renderWorkerProps(build))["image"]
        environment = await resolved(self.createEnvironment(build))
        container = {
            "name": self.getContainerName(),
            "image": image,
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "resources": await resolved(self.getBuildContainerResources(build)),
            "volumeMounts": await resolved(self.get_build_container_volume_mounts(build)),
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.getContainerName()},
            "spec": {
                "affinity": await resolved(self.get_affinity(build)),
                "containers": [container, *await resolved(self.getServicesContainers(build))],
                "nodeSelector": await resolved(self.get_node_selector(build)),
                "restartPolicy": "Never",
                "volumes": await resolved(self.get_volumes(build)),
            },
        }

    def getContainerName(self) -> str:
        """The name of its pod, with the characters that Kubernetes allows."""
        return re.sub(r"[^a-z0-9-]", "-", super().getContainerName().lower())

    def default_master(self) -> str:
        """The IP address of this machine: if the master runs in a pod, other pods cannot look up its name."""
        return self.get_ip()

    async def renderWorkerProps(self, build_props: Any) -> dict[str, Any]:
        """Image and namespace, rendered."""
        values: dict[str, Any] = await build_props.render({"image": self.image, "namespace": self.namespace})
        for name, value in values.items():
            if not isinstance(value, str) and not (name == "namespace" and value is None):
                raise LatentWorkerCannotSubstantiate(f"{name} must be a text, not {checks.kind(value)}")
        return values

    # start and stop

    async def start_instance(self, build: Any) -> bool:
        """Make the pod; see `AbstractLatentWorker.start_instance`."""
        wanted = await self.renderWorkerPropsOnBuild(build)
        await self.__open(wanted["namespace"])
        await self.__delete()  # an earlier master may have left one
        spec = await resolved(self.getPodSpec(build))
        answer = await self.__ask("POST", "", json=spec)
        if not answer.ok:
            said = message_of(answer.body)
            raise LatentWorkerFailedToSubstantiate(f"Kubernetes answers {answer.status} to the pod: {said}")
        return True

    async def check_instance(self) -> tuple[bool, str]:
        """Whether the pod runs or may still start; if not, the reason and its last lines of output."""
        if self.__namespace is None:
            return True, ""
        answer = await self.__ask("GET", f"/{self.getContainerName()}/status")
        if answer.status == 404:
            return False, "its pod is gone"
        status = answer.require().json().get("status") or {}
        for container in status.get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _STUCK:
                return False, f"its pod does not start: {waiting['reason']}: {waiting.get('message', '')}"
        if status.get("phase") not in ("Failed", "Succeeded"):
            return True, ""
        params = {"tailLines": SHOWN_LINES, "container": self.getContainerName()}
        log = await self.__ask("GET", f"/{self.getContainerName()}/log", params=params)
        said = f" and printed last:\n{log.body.decode('utf-8', 'replace').strip()}" if log.ok and log.body else ""
        why = " ".join(filter(None, [status.get("reason"), status.get("message")]))
        return False, f"its pod ended, {status['phase']}{f' ({why})' if why else ''}{said}"

    async def stop_instance(self, fast: bool = False) -> None:
        """Delete the pod; see `AbstractLatentWorker.stop_instance`."""
        self.resetWorkerPropsOnBuild()
        if self.__opened:
            try:
                await self.__delete()
            finally:
                await self.__close()

    async def find_instance(self) -> bool:
        """Delete a pod that an earlier master left behind: its agent may know another password."""
        if not holds_renderable(self.namespace):
            try:
                await self.__open(self.namespace)
                await self.__delete()
            finally:
                await self.__close()
        return False

    async def __open(self, namespace: str | None) -> None:
        self.__opened = True
        await self.kube_config.open(self.master)
        self.__namespace = namespace or self.kube_config.default_namespace()

    async def __close(self) -> None:
        self.__opened, self.__namespace = False, None
        await self.kube_config.close()

    async def __delete(self) -> None:
        """Delete the pod and wait until it is gone."""
        if self.__namespace is None:  # the cluster was not reached
            return
        path, reactor = f"/{self.getContainerName()}", self.master.reactor
        answer = await self.__ask("DELETE", path, params={"gracePeriodSeconds": 0})
        until = reactor.seconds() + GONE_S
        while answer.status != 404:
            if not answer.ok:
                said = message_of(answer.body)
                raise LatentWorkerFailedToSubstantiate(f"Kubernetes answers {answer.status} to the deletion: {said}")
            if reactor.seconds() > until:
                raise LatentWorkerFailedToSubstantiate(f"its pod still exists {GONE_S:.0f} s after it was deleted")
            answer = await self.__ask("GET", f"{path}/status")
            if answer.status != 404:
                await asyncSleep(LOOK_S, reactor)

    async def __ask(self, method: str, path: str, **more: Any) -> Answer:
        access = await self.kube_config.access()
        url = f"{access.url}/api/v1/namespaces/{self.__namespace}/pods{path}"
        try:
            answer: Answer = await self.master.httpservice.request(
                method, url, headers=access.headers, auth=access.auth, **access.tls, **more
            )
            return answer
        except (NoAnswerError, TooLargeError) as problem:
            raise LatentWorkerFailedToSubstantiate(str(problem)) from None
