"""Loaders of the address and login of a Kubernetes cluster, which configurations name."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from buildbot.config import checks, requests
from buildbot.config.arguments import Declared, argument
from buildbot.config.errors import error
from buildbot.interfaces import LatentWorkerFailedToSubstantiate, holds_renderable
from buildbot.process.configured import Configured
from buildbot.process.properties import Properties
from buildbot.process.rendering import rendered

#: seconds within which ``kubectl proxy`` must serve
PROXY_S = 30.0
#: its output when it serves
_SERVES = "Starting to serve on"
#: a shell script that runs it until stdin is closed, which happens in any case when the master ends
_UNTIL_STDIN_ENDS = """exec 3<&0
(cat <&3; kill $$) >/dev/null 2>&1 &
exec kubectl proxy "--port=$0" </dev/null 3<&-"""


@dataclass(frozen=True)
class Access:
    """The address and login of a cluster's API.

    Attributes:
        url: of the API, without a slash at its end.
        headers: of each request.
        auth: user and password for Basic authentication, or None.
        tls: arguments of `HttpClient.request` about certificates.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    tls: Mapping[str, Any] = field(default_factory=dict)


class KubeConfigLoaderBase(Configured, Declared, ABC):
    """The base of loaders. One loader may serve several workers, and a configuration may have several loaders."""

    namespace = argument("default", checks.name, doc="the namespace of pods whose worker names none")

    async def open(self, master: Any) -> None:
        """Begin to use the cluster, for a worker of a running master; a `close` follows each call."""

    @abstractmethod
    async def access(self) -> Access:
        """The address and login of the cluster, which may change from call to call."""

    async def close(self) -> None:
        """End one use of the cluster that `open` began."""

    def default_namespace(self) -> str:
        """The default namespace of pods."""
        return str(self.namespace)


def _basic(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = checks.mapping(value)
    texts = [isinstance(each, str) or holds_renderable(each) for each in found.values()]
    if found.keys() != {"user", "password"} or not all(texts):
        raise ValueError("must be {'user': …, 'password': …}")
    return found


class KubeHardcodedConfig(KubeConfigLoaderBase):
    """A cluster whose address and login are arguments."""

    positional: ClassVar[tuple[str, ...]] = ("master_url",)
    master_url: Any = argument(None, checks.optional(checks.url), doc="the URL of the API")
    bearerToken = argument(
        None, checks.optional(checks.name), renderable=True, doc="a token that is sent with each request"
    )
    basicAuth = argument(
        None, checks.optional(_basic), renderable=True, doc="`{'user': …, 'password': …}`, instead of a token"
    )
    headers = argument(None, checks.optional(checks.mapping), doc="further headers of each request")
    cert = argument(
        None, checks.optional(requests.certificate), doc="the client's certificate, or `(certificate, key)`: paths"
    )
    verify = argument(
        None,
        checks.optional(checks.either(checks.boolean, checks.name, otherwise="True, False or the path of a file")),
        doc="a file of certificates to trust; None or True: the system's; False: any certificate is accepted",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.master_url is None:
            error(f"{type(self).__name__}: argument 'master_url' is missing ({type(self).__doc__})")
        self.__master: Any = None
        if self.bearerToken is not None and self.basicAuth is not None:
            error(f"{type(self).__name__}: bearerToken and basicAuth are both given; keep one")

    async def open(self, master: Any) -> None:
        """Keep the master, which gives the values of secrets."""
        self.__master = master

    async def access(self) -> Access:
        """The address and login of the arguments, with their secrets."""
        props: Any = Properties()
        props.master = self.__master  # secrets are read from it
        token, basic = await rendered(self.bearerToken, props), await rendered(self.basicAuth, props)
        headers = dict(self.headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        auth = (basic["user"], basic["password"]) if basic else None
        tls: dict[str, Any] = {"verify": self.verify is not False}
        if isinstance(self.verify, str):
            tls["ca_file"] = self.verify
        if self.cert is not None:
            tls["cert_file"], tls["key_file"] = self.cert
        return Access(self.master_url.rstrip("/"), headers, auth, tls)


class KubeInClusterConfigLoader(KubeConfigLoaderBase):
    """The cluster in which the master itself runs, with the service account of its pod."""

    #: where Kubernetes puts the account's files
    directory: ClassVar[Path] = Path("/var/run/secrets/kubernetes.io/serviceaccount")

    def default_namespace(self) -> str:
        """The namespace of the master's own pod."""
        return self.__read("namespace")

    async def access(self) -> Access:
        """The address and login in the pod's files and environment; the token changes, so it is read at each call."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise LatentWorkerFailedToSubstantiate("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")
        host = f"[{host}]" if ":" in host else host
        headers = {"Authorization": f"Bearer {self.__read('token')}"}
        return Access(f"https://{host}:{port}", headers, tls={"ca_file": str(self.directory / "ca.crt")})

    def __read(self, name: str) -> str:
        try:
            return (self.directory / name).read_text().strip()
        except OSError as problem:
            raise LatentWorkerFailedToSubstantiate(f"this is no pod of a cluster: {problem}") from None


class KubeCtlProxyConfigLoader(KubeConfigLoaderBase):
    """The cluster that ``kubectl`` is set up for, through ``kubectl proxy``, which runs while a worker uses it."""

    proxy_port = argument(8001, checks.whole_number(1), doc="the port of the proxy on this machine")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__users = 0
        self.__proxy: Proxy | None = None

    async def open(self, master: Any) -> None:
        """Start the proxy, unless it runs; LatentWorkerFailedToSubstantiate if it does not serve."""
        self.__users += 1
        if self.__proxy is None or self.__proxy.has_ended:
            self.__proxy = Proxy()
            argv = ["/bin/sh", "-c", _UNTIL_STDIN_ENDS, str(self.proxy_port)]
            master.reactor.spawnProcess(self.__proxy, argv[0], argv, env=None)
        serves = self.__proxy.serves()
        serves.addTimeout(PROXY_S, master.reactor)
        try:
            await serves
        except TimeoutError:
            raise LatentWorkerFailedToSubstantiate(f"kubectl proxy does not serve within {PROXY_S:.0f} s") from None

    async def access(self) -> Access:
        """The address of the proxy; it logs in itself."""
        return Access(f"http://localhost:{self.proxy_port}")

    async def close(self) -> None:
        """End the proxy, if no other worker uses it."""
        self.__users -= 1
        if self.__users == 0 and self.__proxy is not None:
            proxy, self.__proxy = self.__proxy, None
            proxy.end()


class Proxy(ProcessProtocol):
    """A running ``kubectl proxy``."""

    transport: Any

    def __init__(self) -> None:
        self.has_ended = False
        self._said = ""
        self._waiting: list[Deferred[None]] = []

    def serves(self) -> Deferred[None]:
        """Fires when the proxy serves; fails with LatentWorkerFailedToSubstantiate if it ends before."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._look()
        return waiting

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Look for the message that it serves."""
        self._said = (self._said + data.decode("utf-8", "replace"))[-2000:]
        self._look()

    def _look(self) -> None:
        if _SERVES not in self._said and not self.has_ended:
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.called:
                continue
            if self.has_ended:
                each.errback(LatentWorkerFailedToSubstantiate(f"kubectl proxy ended: {self._said.strip()}"))
            else:
                each.callback(None)

    def processExited(self, reason: Failure) -> None:
        """The proxy has ended; closing stdin ends the process that watches it."""
        self.transport.closeStdin()

    def processEnded(self, reason: Failure) -> None:
        """The proxy has ended, and all of its output has been read."""
        self.has_ended = True
        self._look()

    def end(self) -> None:
        """End the proxy."""
        self.transport.closeStdin()


def message_of(body: bytes) -> str:
    """The ``message`` in the body of an answer of the API; else the body's first 200 bytes as text."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
