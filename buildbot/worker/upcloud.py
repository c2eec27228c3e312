"""Workers in servers of UpCloud, through its HTTP API."""

from __future__ import annotations

import re
import shlex
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.util.deferreds import asyncSleep, resolved
from buildbot.util.httpclient import Answer, HttpError
from buildbot.worker.container import DockerBaseWorker
from buildbot.worker.latent import rendered_arguments

#: seconds between requests for the state of a server that starts or stops
LOOK_S = 5.0
#: the number of servers in one list
PAGE = 100
RENDERED = ("image", "hostconfig")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
#: the keys of ``hostconfig``, with their checks and defaults
_HOST: dict[str, tuple[checks.Check, Any]] = {
    "zone": (checks.name, "de-fra1"),
    "plan": (checks.name, "1xCPU-1GB"),
    "hostname": (checks.name, None),
    "ssh_keys": (checks.list_of(checks.name), []),
    "os_disk_size": (checks.whole_number(1), 10),
    "core_number": (checks.whole_number(1), 1),
    "memory_amount": (checks.whole_number(1), 512),
    "user_data": (checks.text, None),
}


def _host(value: Any) -> dict[str, Any]:
    given = checks.mapping(value)
    for name in given:
        if name not in _HOST:
            raise ValueError(f"[{name!r}] is unknown{checks.suggestion(name, _HOST)}")
    checked = {}
    for name, (check, default) in _HOST.items():
        try:
            checked[name] = check(given[name]) if name in given else default
        except ValueError as reason:
            raise ValueError(f"[{name!r}] {reason}") from None
    return checked


class UpcloudLatentWorker(DockerBaseWorker):
    """A server of UpCloud, made for builds and deleted after them, with its disk.

    The agent in the image knows the worker's name, its password and the master; or a script in `hostconfig`
    (``user_data``, which begins with ``#!``) starts it, which finds `BUILDMASTER`, `BUILDMASTER_PORT`,
    `BUILDMASTER_PROTOCOL`, `WORKERNAME` and `WORKERPASS` in its environment.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "name", "password", "api_username", "api_password", "image", "hostconfig", "base_url", "masterFQDN",
    )  # fmt: skip
    builds_may_be_incompatible = True
    api_username = argument(REQUIRED, checks.name, doc="the user of UpCloud's API")
    api_password = argument(REQUIRED, checks.name, doc="the user's password")
    image = argument(REQUIRED, checks.name, renderable=True, doc="a template that the disk is cloned from: title or id")
    hostconfig = argument(
        None,
        checks.optional(_host),
        renderable=True,
        doc="""the server: `zone` (`de-fra1`), `plan` (`1xCPU-1GB`), `hostname` (made of the worker's name), `ssh_keys`
        (none), `os_disk_size` (10, GB), `user_data` (none); with the plan `custom` also `core_number` (1) and
        `memory_amount` (512, MB)""",
    )
    base_url = argument("https://api.upcloud.com/1.3", checks.url, doc="the URL of UpCloud's API")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: the id of the server; None while there is none
        self.instance_id: str | None = None
        self.__asked_for = False

    async def renderWorkerProps(self, build_props: Any) -> dict[str, Any]:
        """The arguments that decide whether a server suits a build, rendered and checked."""
        return await rendered_arguments(self, RENDERED, build_props)

    async def start_instance(self, build: Any) -> list[str]:
        """Make the server; see `AbstractLatentWorker.start_instance`."""
        wanted = await self.renderWorkerPropsOnBuild(build)
        template = await self.__template(wanted["image"])
        environment = await resolved(self.createEnvironment(build))
        self.__asked_for = True
        told = await self.__ask("POST", "/server", json={"server": self.__server(template, wanted, environment)})
        self.instance_id = str(told["server"]["uuid"])
        await self.__until("started")
        return [self.instance_id, str(wanted["image"])]

    def __server(self, template: str, wanted: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
        """The description of the server, in the form of the API."""
        host, name = wanted["hostconfig"] or _host({}), self.getContainerName()
        disk = {"action": "clone", "storage": template, "title": name, "size": host["os_disk_size"]}
        server: dict[str, Any] = {
            "zone": host["zone"],
            "title": name,
            "hostname": host["hostname"] or re.sub(r"[^A-Za-z0-9-]", "-", name),
            "plan": host["plan"],
            "metadata": "yes",
            "password_delivery": "none",
            "storage_devices": {"storage_device": [disk]},
        }
        if host["plan"] == "custom":
            server |= {"core_number": host["core_number"], "memory_amount": host["memory_amount"]}
        if host["ssh_keys"]:
            server["login_user"] = {"create_password": "no", "ssh_keys": {"ssh_key": host["ssh_keys"]}}
        if host["user_data"] is not None:
            server["user_data"] = with_environment(host["user_data"], environment)
        return server

    async def check_instance(self) -> tuple[bool, str]:
        """Whether the server runs."""
        if self.instance_id is None:
            return True, ""
        state = await self.__state()
        return state in ("started", "maintenance"), f"server {self.instance_id} is {state}"

    async def stop_instance(self, fast: bool = False) -> None:
        """Delete the server and its disk; see `AbstractLatentWorker.stop_instance`."""
        self.resetWorkerPropsOnBuild()
        if self.instance_id is None and self.__asked_for:
            # the answer with the id of a new server may have been lost
            self.instance_id = await self.__find()
        self.__asked_for = False
        await self.__delete()

    async def find_instance(self) -> bool:
        """Delete a server that an earlier master left behind: its agent may know another password."""
        self.instance_id = await self.__find()
        await self.__delete()
        return False

    async def __delete(self) -> None:
        if self.instance_id is None:
            return
        path = f"/server/{self.instance_id}"
        if await self.__state() not in ("stopped", "gone"):
            await self.__ask("POST", f"{path}/stop", json={"stop_server": {"stop_type": "hard"}}, gone_is_fine=True)
            await self.__until("stopped")
        await self.__ask("DELETE", path, params={"storages": 1}, gone_is_fine=True)
        self.instance_id = None

    async def __until(self, wanted: str) -> None:
        """Wait until the server is in a state; a server that no longer exists counts as stopped."""
        while (state := await self.__state()) != wanted:
            if wanted == "stopped" and state == "gone":
                return
            if state in ("error", "gone"):
                raise LatentWorkerFailedToSubstantiate(f"server {self.instance_id} is {state}, not {wanted}")
            await asyncSleep(LOOK_S, self.master.reactor)

    async def __state(self) -> str:
        told = await self.__ask("GET", f"/server/{self.instance_id}", gone_is_fine=True)
        return str(told["server"]["state"]) if told else "gone"

    async def __find(self) -> str | None:
        """The id of the server with this worker's title; None if there is none."""
        offset, wanted = 0, self.getContainerName()
        while True:
            told = await self.__ask("GET", "/server", params={"limit": PAGE, "offset": offset})
            servers = told["servers"]["server"]
            for each in servers:
                if each.get("title") == wanted:
                    return str(each["uuid"])
            if len(servers) < PAGE:
                return None
            offset += PAGE

    async def __template(self, image: str) -> str:
        """The id of a template, by its id or title."""
        if _UUID.match(image):
            return image
        told = await self.__ask("GET", "/storage/template")
        for each in told["storages"]["storage"]:
            if each.get("title") == image:
                return str(each["uuid"])
        raise LatentWorkerCannotSubstantiate(f"UpCloud has no template {image!r}")

    async def __ask(self, method: str, path: str, gone_is_fine: bool = False, **more: Any) -> Any:
        """UpCloud's answer; None if the server no longer exists and the caller accepts that."""
        try:
            answer: Answer = await self.master.httpservice.request(
                method, f"{self.base_url.rstrip('/')}{path}", auth=(self.api_username, self.api_password), **more
            )
            if answer.status == 404 and gone_is_fine:
                return None
            told = answer.json() if answer.body else {}
        except HttpError as problem:
            raise LatentWorkerFailedToSubstantiate(str(problem)) from None
        if not answer.ok:
            said = (told.get("error") or {}).get("error_message", "") if isinstance(told, dict) else ""
            raise LatentWorkerFailedToSubstantiate(f"{answer.where} answers {answer.status}: {said or 'no message'}")
        return told


def with_environment(script: str, environment: dict[str, str]) -> str:
    """A script that exports variables first; a text that is no script is returned unchanged."""
    first, newline, rest = script.partition("\n")
    if not first.startswith("#!"):
        return script
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    return f"{first}{newline or chr(10)}{exports}{rest}"


__all__ = ["UpcloudLatentWorker", "with_environment"]
