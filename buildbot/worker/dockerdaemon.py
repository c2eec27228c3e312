"""The requests that `DockerLatentWorker` sends to a Docker daemon. All functions block, and each makes a connection."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate

#: seconds that the daemon has to answer, and the longest pause in its output while it makes or pulls an image
ANSWER_S, IMAGE_S = 60, 3600
#: seconds that a stopped container has to end by itself
END_S = 10
#: the HTTP status of a request that would be refused again
BAD_REQUEST = 400
#: the number of last lines shown of the output of an image's build, or of a container that ended
SHOWN_LINES = 10


@dataclass(frozen=True)
class Container:
    """The arguments of a container; `DockerLatentWorker` describes them."""

    name: str
    image: str | None
    dockerfile: str | None
    environment: Mapping[str, str]
    command: Sequence[str] | None = None
    volumes: Sequence[str] | None = None
    hostconfig: Mapping[str, Any] | None = None
    hostname: str | None = None
    labels: Mapping[str, str] | None = None
    autopull: bool = False
    always_pull: bool = False
    custom_context: bool = False
    encoding: str = "gzip"
    target: str = ""
    buildargs: Mapping[str, Any] | None = field(default=None)

    @property
    def image_name(self) -> str:
        """The name of its image; without one, a name with a hash of Dockerfile, target and build arguments."""
        if self.image is not None:
            return self.image
        made_of = repr((self.dockerfile, self.target, sorted((self.buildargs or {}).items())))
        return f"{self.name.lower()}:{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


class Daemon:
    """A Docker daemon.

    Args:
        host: its address: ``unix://…`` or ``tcp://…``.
        version: the version of its API; None: the daemon is asked for it.
        tls: a ``docker.tls.TLSConfig`` for the connection, True or None.
        image_s: the longest pause in the daemon's output while it makes or pulls an image; None: `IMAGE_S`.
    """

    def __init__(self, host: str, version: str | None, tls: Any, image_s: float | None = None) -> None:
        self._host, self._version, self._tls = host, version or "auto", tls
        self._image_s = image_s or IMAGE_S

    @contextmanager
    def _client(self, timeout_s: float = ANSWER_S) -> Iterator[Any]:
        """A connection; errors of the package docker become errors of a worker's start."""
        try:
            client = docker.APIClient(self._host, version=self._version, tls=self._tls or False, timeout=int(timeout_s))
            try:
                yield client
            finally:
                client.close()
        except APIError as problem:
            if problem.status_code == BAD_REQUEST:  # the daemon would refuse it again
                raise LatentWorkerCannotSubstantiate(f"Docker says: {problem.explanation or problem}") from problem
            raise LatentWorkerFailedToSubstantiate(f"Docker says: {problem.explanation or problem}") from problem
        except (DockerException, OSError) as problem:  # errors of the package requests are OSErrors
            raise LatentWorkerFailedToSubstantiate(f"Docker at {self._host} does not answer: {problem}") from problem

    def start(self, container: Container) -> None:
        """Make or pull the image if it is missing, and start a container.

        Raises:
            LatentWorkerCannotSubstantiate: the image is missing and cannot be made or pulled.
            LatentWorkerFailedToSubstantiate: anything else.
        """
        self.remove(container.name, fast=True)  # an earlier master may have left one
        self._provide_image(container)
        with self._client() as client:
            volumes = list(container.volumes or ())
            host_config = client.create_host_config(
                **{"init": True, **(container.hostconfig or {}), "binds": self._binds(container)}
            )
            made = client.create_container(
                container.image_name,
                list(container.command) if container.command else None,
                name=container.name,
                environment=dict(container.environment),
                hostname=container.hostname,
                labels=dict(container.labels or {}),
                volumes=[each.split(":")[1] for each in volumes],
                host_config=host_config,
            )
            client.start(made["Id"])

    def _binds(self, container: Container) -> list[str]:
        given = (container.hostconfig or {}).get("binds") or []
        return [*given, *(container.volumes or ())] if isinstance(given, list) else given

    def _provide_image(self, container: Container) -> None:
        there = self._has_image(container.image_name)
        if container.dockerfile is not None and not there:
            self._make_image(container)
        elif container.autopull and (container.always_pull or not there):
            self._pull_image(container.image_name)
        if not self._has_image(container.image_name):
            raise LatentWorkerCannotSubstantiate(
                f"there is no image {container.image_name!r} at {self._host}, and it "
                + ("is not in its registry" if container.autopull else "is not pulled (autopull=False)")
            )

    def _has_image(self, name: str) -> bool:
        with self._client() as client:
            try:
                client.inspect_image(name)
            except ImageNotFound:
                return False
            return True

    def _make_image(self, container: Container) -> None:
        more: dict[str, Any] = {
            "tag": container.image_name,
            "pull": container.always_pull,
            "buildargs": {name: str(value) for name, value in (container.buildargs or {}).items()},
            "target": container.target,
            "rm": True,
            "decode": True,
        }
        dockerfile = container.dockerfile or ""
        what = f"image {container.image_name!r} could not be made"
        with self._client(self._image_s) as client:
            if container.custom_context:
                try:
                    context = Path(dockerfile).open("rb")  # noqa: SIM115
                except OSError as problem:
                    raise LatentWorkerCannotSubstantiate(f"dockerfile cannot be read: {problem}") from None
                encoding = {"identity": None, "bzip": "bzip2"}.get(container.encoding, container.encoding)
                with context:
                    lines = client.build(fileobj=context, custom_context=True, encoding=encoding, **more)
                    self._read_to_end(lines, what)
            else:
                lines = client.build(fileobj=io.BytesIO(dockerfile.encode()), **more)
                self._read_to_end(lines, what)

    def _pull_image(self, name: str) -> None:
        with self._client(self._image_s) as client:
            try:
                self._read_to_end(client.pull(name, stream=True, decode=True), f"image {name!r} could not be pulled")
            except NotFound as problem:
                raise LatentWorkerCannotSubstantiate(f"there is no image {name!r}: {problem.explanation}") from None

    def _read_to_end(self, lines: Iterator[Mapping[str, Any]], what: str) -> None:
        said: list[str] = []
        for line in lines:
            if "stream" in line:
                said.extend(str(line["stream"]).splitlines())
                del said[:-SHOWN_LINES]
            if "error" in line:
                last = "\n".join(each for each in said if each.strip())
                raise LatentWorkerCannotSubstantiate(f"{what}: {line['error']}" + (f"\n{last}" if last else ""))

    def problem_of(self, name: str) -> str | None:
        """How a container ended, with its last lines of output; None while it runs."""
        with self._client() as client:
            try:
                state = client.inspect_container(name)["State"]
                if state["Running"]:
                    return None
                printed = client.logs(name, tail=SHOWN_LINES).decode("utf-8", "replace").strip()
            except NotFound:
                return "its container is gone"
        why = state.get("Error") or f"exit status {state['ExitCode']}"
        return f"its container ended with {why}" + (f" and printed last:\n{printed}" if printed else "")

    def follow(self, name: str, say: Callable[[str], None], enough: Callable[[], bool]) -> None:
        """Call ``say`` with each line of a container's output, until ``enough`` gives True or the container ends."""
        with self._client(self._image_s) as client:
            rest = b""
            for chunk in client.attach(name, stdout=True, stderr=True, stream=True, logs=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    say(line.decode("utf-8", "replace").rstrip())
                if enough():
                    return

    def remove(self, name: str, fast: bool) -> None:
        """Remove a container and its volumes, if it exists; with ``fast`` it is killed instead of stopped."""
        with self._client() as client:
            try:
                if not fast:
                    client.stop(name, timeout=END_S)
                client.remove_container(name, v=True, force=True)
            except NotFound:
                return
