"""Workers in OpenStack's Nova, through the package ``openstacksdk``; its blocking calls run in threads."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate, holds_renderable
from buildbot.util.deferreds import asyncSleep
from buildbot.util.threads import OneByOne
from buildbot.worker.latent import AbstractLatentWorker, rendered_arguments

#: seconds between requests for the state of a server that starts or stops
LOOK_S = 5.0
#: seconds within which OpenStack answers
ANSWER_S = 60
#: the metadata by which a master finds a server that it started before
WORKER_KEY, MASTER_KEY = "tenfold-worker", "tenfold-master"
#: the arguments that decide whether a server suits a build
RENDERED = ("flavor", "block_devices", "region", "image", "meta", "nova_args")
_DEVICE = {
    "device_name": "vda",
    "source_type": "image",
    "destination_type": "volume",
    "delete_on_termination": True,
    "boot_index": 0,
}
#: keys of ``nova_args``, by the names in novaclient and Nova's API, with their names in the package
_NOVA_NAMES = {
    "access_ip_v4": "access_ipv4",
    "access_ip_v6": "access_ipv6",
    "admin_pass": "admin_password",
    "availability_zone": "availability_zone",
    "config_drive": "config_drive",
    "description": "description",
    "disk_config": "disk_config",
    "hostname": "hostname",
    "key_name": "key_name",
    "networks": "networks",
    "nics": "networks",
    "scheduler_hints": "scheduler_hints",
    "security_groups": "security_groups",
    "tags": "tags",
    "trusted_image_certificates": "trusted_image_certificates",
    "userdata": "user_data",
    "user_data": "user_data",
}
_NIC_NAMES = {"net-id": "uuid", "port-id": "port", "v4-fixed-ip": "fixed_ip", "v6-fixed-ip": "fixed_ip"}
#: the version of Nova's API from which on networks must be named
_NAMES_NETWORKS = (2, 37)


def _image(value: Any) -> Any:
    return value if callable(value) else checks.name(value)


def _version(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"2(\.[0-9]+)?", value):
        raise ValueError(f"must be '2' or '2.N', a version of Nova's API, not {checks.kind(value)}")
    return value


def _devices(value: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checks.list_of(checks.mapping)(value)
    known = {"uuid", "volume_size", *_DEVICE}
    if not found:
        raise ValueError("must not be empty")
    for number, each in enumerate(found, 1):
        if "uuid" not in each:
            raise ValueError(f"element {number} must have a uuid")
        for key in sorted(set(each) - known):
            raise ValueError(f"element {number} has {key!r}, which is none of {', '.join(sorted(known))}")
    return found


def _nova_args(value: Any) -> dict[str, Any]:
    given = checks.mapping(value)
    for name in given:
        if name not in _NOVA_NAMES:
            hint = checks.suggestion(name, _NOVA_NAMES)
            raise ValueError(f"has {name!r}, which is none of {', '.join(_NOVA_NAMES)}{hint}")
    return given


class OpenStackLatentWorker(AbstractLatentWorker):
    """A server of OpenStack, made for builds and deleted after them.

    It needs the package ``openstacksdk`` (``pip install 'tenfold[openstack]'``). The agent in the image knows the
    worker's name and password, or finds them in the user data or metadata of the server.
    """

    builds_may_be_incompatible = True
    missing_timeout = 1200
    positional: ClassVar[tuple[str, ...]] = (
        "name", "password", "flavor", "os_username", "os_password", "os_tenant_name", "os_auth_url", "os_user_domain",
        "os_project_domain", "os_auth_args", "block_devices", "region", "image", "meta", "nova_args", "client_version",
    )  # fmt: skip
    flavor = argument(REQUIRED, checks.name, renderable=True, doc="the kind of server: a name or an id")
    os_username = argument(None, checks.optional(checks.name), doc="the user who logs in")
    os_password = argument(None, checks.optional(checks.name), doc="the user's password")
    os_tenant_name = argument(None, checks.optional(checks.name), doc="the project that the server belongs to")
    os_auth_url = argument(None, checks.optional(checks.url), doc="the URL of Keystone")
    os_user_domain = argument(None, checks.optional(checks.name), doc="the user's domain; None: the default one")
    os_project_domain = argument(
        None, checks.optional(checks.name), doc="the domain of the project; None: the default one"
    )
    os_auth_args = argument(
        None,
        checks.optional(checks.mapping),
        doc="the login, instead of these: arguments of the Keystone plugin that `auth_type` names",
    )
    block_devices = argument(
        None,
        checks.optional(_devices),
        renderable=True,
        doc="""disks: dictionaries with `uuid`, and `volume_size` (GiB), `device_name`, `source_type`,
        `destination_type`, `delete_on_termination`, `boot_index`""",
    )
    region = argument(None, checks.optional(checks.name), renderable=True, doc="the region; None: the only one")
    image = argument(
        None,
        checks.optional(_image),
        renderable=True,
        doc="a name, an id, or a function that gets a list of images and returns one of them or its id",
    )
    meta = argument(None, checks.optional(checks.mapping), renderable=True, doc="metadata of the server")
    nova_args = argument(
        None,
        checks.optional(_nova_args),
        renderable=True,
        doc="""further arguments, by their names in novaclient: `nics`, `security_groups`, `key_name`, `userdata`,
        `availability_zone`, `config_drive`, …""",
    )
    client_version = argument("2", _version, doc="the version of Nova's API; `2.N`: with this microversion")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        called = f"{type(self).__name__} {self.name!r}"
        if find_spec("openstack") is None:
            error(f"{called} needs the package openstacksdk, which is not installed: pip install 'tenfold[openstack]'")
        if self.image is None and self.block_devices is None:
            error(f"{called}: give image, block_devices or both")
        login = {name: getattr(self, f"os_{name}") for name in ("username", "password", "tenant_name", "auth_url")}
        if self.os_auth_args is None:
            for name in [name for name, value in login.items() if value is None]:
                error(f"{called}: give os_{name}, or all that is needed to log in by os_auth_args")
        self.__calls = OneByOne()
        self.__cloud: Any = None
        #: the id of the server; None while there is none
        self.instance_id: str | None = None

    async def renderWorkerProps(self, build_props: Any) -> dict[str, Any]:
        """The arguments that decide whether a server suits a build, rendered and checked."""
        return await rendered_arguments(self, RENDERED, build_props)

    async def start_instance(self, build: Any) -> list[str]:
        """Start the server; see `AbstractLatentWorker.start_instance`."""
        wanted = await self.renderWorkerPropsOnBuild(build)
        await self.__call(lambda: self.__connect(wanted["region"]))
        self.instance_id = await self.__call(lambda: self.__create(wanted))
        while (state := await self.__call(self.__state))[0] == "BUILD":
            await asyncSleep(LOOK_S, self.master.reactor)
        if state[0] != "ACTIVE":
            raise LatentWorkerFailedToSubstantiate(f"server {self.instance_id} is {state[0]}, not ACTIVE{state[1]}")
        return [self.instance_id or "", wanted["flavor"]]

    async def check_instance(self) -> tuple[bool, str]:
        """Whether the server runs."""
        if self.instance_id is None:
            return True, ""
        state, why = await self.__call(self.__state)
        return state == "ACTIVE", f"server {self.instance_id} is {state}{why}"

    async def stop_instance(self, fast: bool = False) -> None:
        """Delete the server; see `AbstractLatentWorker.stop_instance`."""
        self.resetWorkerPropsOnBuild()
        if self.instance_id is None and self.__cloud is not None:
            # the answer with the id of a new server may have been lost
            self.instance_id = await self.__call(self.__find)
        while self.instance_id is not None:
            await self.__call(self.__delete)
            if fast or (await self.__call(self.__state))[0] == "DELETED":
                self.instance_id = None
                break
            await asyncSleep(LOOK_S, self.master.reactor)

    async def find_instance(self) -> bool:
        """Whether a server of this master exists already, by its metadata; its agent knows the password."""
        if holds_renderable(self.region):
            return False
        await self.__call(lambda: self.__connect(self.region))
        self.instance_id = await self.__call(self.__find)
        return self.instance_id is not None

    async def __call(self, function: Callable[[], Any]) -> Any:
        return await self.__calls.call(self.__translating_errors, function)

    # in threads

    def __translating_errors(self, function: Callable[[], Any]) -> Any:
        """Call a function that asks OpenStack; errors of the package become LatentWorkerFailedToSubstantiate."""
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException

        try:
            return function()
        except (SDKException, ClientException, OSError) as problem:
            raise LatentWorkerFailedToSubstantiate(f"OpenStack: {problem}") from problem

    @property
    def __version(self) -> tuple[int, int]:
        return 2, int(self.client_version.partition(".")[2] or "1")

    def __connect(self, region: str | None) -> None:
        import openstack

        if self.os_auth_args is not None:
            auth = dict(self.os_auth_args)
        else:
            auth = {
                "auth_url": self.os_auth_url,
                "username": self.os_username,
                "password": self.os_password,
                "project_name": self.os_tenant_name,
                **_domain("user", self.os_user_domain),
                **_domain("project", self.os_project_domain),
            }
        self.__cloud = openstack.connect(
            auth_type=auth.pop("auth_type", "password"),
            auth=auth,
            region_name=region,
            compute_default_microversion=f"{self.__version[0]}.{self.__version[1]}",
            api_timeout=ANSWER_S,
            load_yaml_config=False,
            load_envvars=False,
            app_name="tenfold",
        )

    def __create(self, wanted: Mapping[str, Any]) -> str:
        compute = self.__cloud.compute
        flavor = compute.find_flavor(wanted["flavor"])
        if flavor is None:
            raise LatentWorkerCannotSubstantiate(f"there is no flavor {wanted['flavor']!r}")
        devices = [self.__disk(each) for each in wanted["block_devices"] or ()]
        given: dict[str, Any] = {
            "name": self.name,
            "flavor_id": flavor.id,
            "networks": "auto" if self.__version >= _NAMES_NETWORKS else None,
            **_with_names_of_package(wanted["nova_args"] or {}),
            "image_id": self.__image_id(wanted["image"]) if wanted["image"] is not None else None,
            "block_device_mapping": devices or None,
            "metadata": {
                **{key: str(value) for key, value in (wanted["meta"] or {}).items()},
                WORKER_KEY: self.name,
                MASTER_KEY: self.master.name,
            },
        }
        server = compute.create_server(**{name: value for name, value in given.items() if value is not None})
        return str(server.id)

    def __image_id(self, image: Any) -> str:
        images = self.__cloud.image
        if callable(image):
            chosen = image([_described(each) for each in images.images()])
            if chosen is None:
                raise LatentWorkerCannotSubstantiate("the function image gives none of the images")
            return str(getattr(chosen, "id", chosen))
        found = images.find_image(image)
        if found is None:
            raise LatentWorkerCannotSubstantiate(f"there is no image {image!r}")
        return str(found.id)

    def __disk(self, device: Mapping[str, Any]) -> dict[str, Any]:
        made = {**_DEVICE, **device}
        if made.get("volume_size") is None:
            made.pop("volume_size", None)
            if made["source_type"] == "image" and made["destination_type"] == "volume":
                # Nova knows the size of volumes and snapshots, but not of a volume that is made from an image
                image = self.__cloud.image.get_image(made["uuid"])
                made["volume_size"] = max(image.min_disk or 0, math.ceil((image.size or 0) / 2**30), 1)
        return made

    def __state(self) -> tuple[str, str]:
        """The state of the server, and Nova's reason for it as ``": reason"``, or empty."""
        from openstack.exceptions import NotFoundException

        try:
            server = self.__cloud.compute.get_server(self.instance_id)
        except NotFoundException:
            return "DELETED", ""
        said = (server.fault or {}).get("message", "")
        return str(server.status), f": {said}" if said else ""

    def __delete(self) -> None:
        self.__cloud.compute.delete_server(self.instance_id, ignore_missing=True)

    def __find(self) -> str | None:
        ours = {WORKER_KEY: self.name, MASTER_KEY: self.master.name}
        for server in self.__cloud.compute.servers():
            if ours.items() <= (server.metadata or {}).items() and server.status not in ("DELETED", "SOFT_DELETED"):
                return str(server.id)
        return None


def _domain(whose: str, name: str | None) -> dict[str, str]:
    """The login's argument for a domain; None is the domain ``default``, which every Keystone has."""
    return {f"{whose}_domain_id": "default"} if name is None else {f"{whose}_domain_name": name}


def _with_names_of_package(given: Mapping[str, Any]) -> dict[str, Any]:
    """``nova_args`` by their names in the package, with values in the form of Nova's API."""
    found = {_NOVA_NAMES[name]: value for name, value in given.items()}
    if isinstance(found.get("networks"), list | tuple):
        found["networks"] = [
            {_NIC_NAMES.get(key, key): value for key, value in nic.items()} for nic in found["networks"]
        ]
    if "security_groups" in found:
        found["security_groups"] = [
            {"name": each} if isinstance(each, str) else each for each in found["security_groups"]
        ]
    if "userdata" in given:
        data = given["userdata"].read() if hasattr(given["userdata"], "read") else given["userdata"]
        found["user_data"] = base64.b64encode(data.encode() if isinstance(data, str) else data).decode()
    return found


def _described(image: Any) -> SimpleNamespace:
    """An image for the user's function: Glance's attributes, also under novaclient's names."""
    known = {name: value for name, value in image.to_dict().items() if name.isidentifier()}
    return SimpleNamespace(**known | {"created": image.created_at, "updated": image.updated_at})
