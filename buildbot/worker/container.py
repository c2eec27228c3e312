"""The base of workers in containers, whose agents get the master's address and the login from the environment."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.interfaces import LatentWorkerFailedToSubstantiate
from buildbot.worker.latent import AbstractLatentWorker

_MASTER = re.compile(r"(\[[^\]]+\]|[^:\s/]+)(?::(\d+))?\Z")
#: the password of workers that have none in the configuration; this process uses one for all
_MADE_PASSWORD = secrets.token_urlsafe(15)


def _master(value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, str) or not _MASTER.match(value):
        raise ValueError(f"must be a host or host:port, as in 'master.example.org:9989', not {checks.kind(value)}")
    return value


class DockerBaseWorker(AbstractLatentWorker):
    """A worker on demand whose agent runs in a container, with the master and the login in its environment."""

    password: Any = argument(
        None, checks.optional(checks.name), doc="the password of the agent's login; None: one is made"
    )
    masterFQDN = argument(
        None,
        checks.optional(_master),
        doc="the master's address for the agent: host, host:port or a function that gives it; None: this machine",
    )
    master_protocol = argument(
        "pb",
        checks.one_of("pb", "msgpack_experimental_v7"),
        doc="the protocol that the agent speaks; `c['protocols']` must have it",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password = self.password or _MADE_PASSWORD

    def getContainerName(self) -> str:
        """The name of its container; it has a hash of the master's name, so that it is unique among masters."""
        which = hashlib.sha256(self.master.name.encode()).hexdigest()[:6]
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", self.name)
        return f"buildbot-{name}-{which}"

    def createEnvironment(self, build: Any = None) -> dict[str, str]:
        """The environment of the agent; subclasses may add to it.

        Args:
            build: the build that the instance is started for.

        Raises:
            LatentWorkerFailedToSubstantiate: the master does not listen for the agent's protocol.
        """
        host, port = self.__where()
        return {
            "BUILDMASTER": host,
            "BUILDMASTER_PROTOCOL": self.master_protocol,
            "BUILDMASTER_PORT": str(port),
            "WORKERNAME": self.name,
            "WORKERPASS": str(self.password),
        }

    def __where(self) -> tuple[str, int]:
        given = self.masterFQDN() if callable(self.masterFQDN) else self.masterFQDN or self.default_master()
        match = _MASTER.match(str(given))
        if match is None:
            raise LatentWorkerFailedToSubstantiate(f"masterFQDN gives {given!r}, which is no host or host:port")
        port = int(match[2]) if match[2] else self.master_port(self.master_protocol)
        if port is None:
            raise LatentWorkerFailedToSubstantiate(
                f"c['protocols'] has no port for {self.master_protocol}, the protocol of its agent"
            )
        return match[1].strip("[]"), port

    def default_master(self) -> str:
        """The address of the master for the agent, without `masterFQDN`."""
        return self.get_fqdn()

    @staticmethod
    def get_fqdn() -> str:
        """The full name of this machine."""
        return socket.getfqdn()

    @staticmethod
    def get_ip() -> str:
        """The IP address of this machine, by its name."""
        return socket.gethostbyname(socket.getfqdn())
