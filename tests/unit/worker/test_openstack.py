"""Workers in OpenStack: the real library, over HTTP, against an imitation of Keystone, Glance and Nova."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.web.server import Site

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Interpolate
from buildbot.steps.shell import ShellCommand
from buildbot.test.reporters import HttpRecorder
from buildbot.test.running import until
from buildbot.test.workers import LatentHarness
from buildbot.util.results import EXCEPTION, RETRY, SUCCESS
from buildbot.worker import openstack as kind
from buildbot.worker.openstack import OpenStackLatentWorker
from tests.support.reactor import reactor

IMAGES = [
    {"id": f"image-{number}", "name": f"worker-{number}", "created_at": f"2026-01-0{number}T00:00:00Z",
     "min_disk": 0, "size": 3 * 2**30 - 5, "status": "active"}
    for number in (1, 3, 2)
]  # fmt: skip
#: how far the clock goes in each turn of the reactor, in which real requests go on meanwhile
STEP_S = 0.02
FLAVORS = [{"id": "flavor-1", "name": "m1.small"}]


class Cloud(HttpRecorder):
    """An OpenStack with one project.

    Attributes:
        servers: by id, as Nova tells them.
        state: what a new server becomes when somebody looks at it.
        fault: why.
    """

    def __init__(self) -> None:
        super().__init__(self.serve)
        self.servers: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self.state, self.fault = "ACTIVE", ""
        self.url = ""

    def serve(self, request: Any) -> Any:
        """The answer to a request."""
        method, path = request.method.decode(), request.path.decode()
        service, _, rest = path.strip("/").partition("/")
        status, answer, headers = getattr(self, f"{service.partition('-')[0]}_answers")(method, rest)
        return status, json.dumps(answer).encode(), {"Content-Type": "application/json", **headers}

    def identity_answers(self, method: str, path: str) -> Any:
        """Keystone."""
        if method == "GET":
            return 200, {"version": _version(f"{self.url}/identity/v3", "v3.14")}, {}
        catalog = [
            {"type": each, "name": each, "id": each, "endpoints": [
                {"interface": "public", "region": region, "region_id": region, "id": f"{each}{region}",
                 "url": f"{self.url}/{each}/{version}"}
                for region in ("one", "two")
            ]}
            for each, version in (("compute", "v2.1"), ("image", "v2"))
        ]  # fmt: skip
        user: dict[str, Any] = {"id": "u", "name": "joe", "domain": {"id": "default", "name": "Default"}}
        token = {"catalog": catalog, "user": user, "project": {**user, "id": "p"}, "methods": ["password"], "roles": [],
                 "expires_at": "2199-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z"}  # fmt: skip
        return 201, {"token": token}, {"X-Subject-Token": "t"}

    def image_answers(self, method: str, path: str) -> Any:
        """Glance."""
        if path == "v2/images":
            return 200, {"images": IMAGES}, {}
        if path.startswith("v2/images/"):
            return _one([each for each in IMAGES if each["id"] == path.rpartition("/")[2]], None)
        return 200, {"versions": [_version(f"{self.url}/image/v2/", "v2.9")]}, {}

    def compute_answers(self, method: str, path: str) -> Any:
        """Nova."""
        path = path.removeprefix("v2.1").strip("/")
        if not path:
            return 200, {"version": _version(f"{self.url}/compute/v2.1/", "v2.1", "2.96", "2.1")}, {}
        what, _, name = path.partition("/")
        if what == "flavors":
            found = FLAVORS if name == "detail" else [each for each in FLAVORS if each["id"] == name]
            return (200, {"flavors": found}, {}) if name in ("", "detail") else _one(found, "flavor")
        if method == "POST":
            self.made.append(self.requests[-1])
            server = {"id": f"server-{len(self.made)}", "status": "BUILD", **self.requests[-1]["json"]["server"]}
            self.servers[server["id"]] = server
            return 202, {"server": {"id": server["id"]}}, {}
        if name in ("", "detail"):
            return 200, {"servers": list(self.servers.values())}, {}
        if method == "DELETE":
            self.servers.pop(name, None)
            return 204, {}, {}
        known = [each for each in (self.servers.get(name),) if each]
        answer = _one([dict(each) for each in known], "server")
        for each in known:
            each.update(status=self.state, fault={"message": self.fault})
        return answer


def _version(url: str, name: str, newest: str = "", oldest: str = "") -> dict[str, Any]:
    return {"id": name, "status": "CURRENT", "version": newest, "min_version": oldest,
            "links": [{"rel": "self", "href": url}]}  # fmt: skip


def _one(found: list[Any], name: str | None) -> Any:
    if not found:
        return 404, {"itemNotFound": {"message": "it could not be found", "code": 404}}, {}
    return 200, {name: found[0]} if name else found[0], {}


@asynccontextmanager
async def cloud() -> AsyncIterator[Cloud]:
    """A cloud that listens."""
    made = Cloud()
    port = reactor.listenTCP(0, Site(made), interface="127.0.0.1")
    made.url = f"http://127.0.0.1:{port.getHost().port}"
    try:
        yield made
    finally:
        await port.stopListening()


def place(there: Cloud, **arguments: Any) -> LatentHarness:
    """A master with a worker in a cloud."""
    given = {
        "os_username": "joe", "os_password": "hush", "os_tenant_name": "ci", "os_auth_url": f"{there.url}/identity/v3",
        "region": "one", "image": "worker-3", "build_wait_timeout": 0, **arguments,
    }  # fmt: skip
    return LatentHarness(OpenStackLatentWorker("w", "p", "m1.small", **given), ShellCommand(command="true"))


async def reached(farm: LatentHarness, state: str) -> None:
    """Advance the time until the instance reaches a state."""

    async def is_there() -> bool:
        farm.clock.advance(STEP_S)
        return farm.managed.state.name == state and (state == "STARTING" or farm.managed._activity is None)

    await until(is_there)


async def built(farm: LatentHarness, logs_in: bool = True, **properties: Any) -> dict[str, Any]:
    """Run a build to its end; its row."""
    await reached(farm, "ASLEEP")
    farm.managed.quarantine.leave()
    buildid = await farm.build(**properties)
    if logs_in:

        async def is_ready() -> bool:
            farm.clock.advance(STEP_S)
            assert farm.builders["a"].running, farm.master.build(buildid)["state_string"]
            return bool(farm.worker.instance_id)

        await until(is_ready)
        await farm.log_in()

    async def has_ended() -> bool:
        farm.clock.advance(STEP_S)
        return not farm.builders["a"].running

    await until(has_ended)
    await reached(farm, "ASLEEP")
    return farm.master.build(buildid)


async def test_a_server_for_a_build() -> None:
    """The server is made as configured, with values of the build's properties, and deleted after the build."""
    async with cloud() as there:
        farm = place(
            there, image=Interpolate("worker-%(prop:number)s"), meta={"team": "ci", "level": 3},
            nova_args={"nics": [{"net-id": "n"}], "security_groups": ["web"], "key_name": "k", "userdata": "hello"},
        )  # fmt: skip
        await farm.start()
        assert (await built(farm, number="2"))["results"] == SUCCESS
        (asked,) = there.made
        server = asked["json"]["server"]
        assert (server["name"], server["flavorRef"], server["imageRef"]) == ("w", "flavor-1", "image-2")
        assert server["metadata"] == {
            "team": "ci", "level": "3", "tenfold-worker": "w", "tenfold-master": farm.master.name,
        }  # fmt: skip
        assert server["networks"] == [{"uuid": "n"}] and server["security_groups"] == [{"name": "web"}]
        assert server["key_name"] == "k" and base64.b64decode(server["user_data"]) == b"hello"
        assert there.servers == {}
        login = next(each["json"]["auth"] for each in there.requests if each["method"] == "POST")
        user = login["identity"]["password"]["user"]
        assert (user["name"], user["password"], user["domain"]) == ("joe", "hush", {"id": "default"})
        assert login["scope"]["project"]["name"] == "ci"
        await farm.stop()


async def test_disks_and_versions() -> None:
    """Disks have defaults; a function chooses the image; newer versions of the API name networks."""
    async with cloud() as there:
        seen: list[Any] = []

        def oldest(images: Any) -> Any:
            seen.extend(images)
            return min(images, key=lambda each: each.created)

        farm = place(there, image=oldest, block_devices=[{"uuid": "image-1"}], client_version="2.60")
        await farm.start()
        assert (await built(farm))["results"] == SUCCESS
        (asked,) = there.made
        server = asked["json"]["server"]
        assert server["imageRef"] == "image-1" and {each.name for each in seen} == {each["name"] for each in IMAGES}
        assert server["block_device_mapping_v2"] == [{
            "uuid": "image-1", "volume_size": 3, "device_name": "vda", "source_type": "image",
            "destination_type": "volume", "delete_on_termination": True, "boot_index": 0,
        }]  # fmt: skip
        assert server["networks"] == "auto" and asked["headers"]["x-openstack-nova-api-version"] == "2.60"
        await farm.stop()


@pytest.mark.parametrize(
    ("arguments", "results", "said"),
    [
        ({"image": "theirs"}, EXCEPTION, "there is no image 'theirs'"),
        ({"image": lambda images: None}, EXCEPTION, "gives none of the images"),
        ({"region": "three"}, RETRY, "OpenStack: "),
        ({}, RETRY, "server server-1 is ERROR, not ACTIVE: no host is free"),
    ],
)
async def test_what_goes_wrong(arguments: dict[str, Any], results: int, said: str) -> None:
    """The build has OpenStack's message, and no server remains."""
    async with cloud() as there:
        there.state, there.fault = "ERROR", "no host is free"
        farm = place(there, **{"region": Interpolate("one"), **arguments})
        await farm.start()
        build = await built(farm, logs_in=False)
        assert build["results"] == results and said in build["state_string"]
        assert "hush" not in build["state_string"] and there.servers == {}
        await farm.stop()


async def test_a_server_of_an_earlier_master() -> None:
    """It is deleted if its agent does not log in; those of other masters are left alone."""
    async with cloud() as there:
        for name, master in (("w", LatentHarness(None).master.name), ("w", "another"), ("v", "another")):
            ours = {"tenfold-worker": name, "tenfold-master": master}
            server = {"id": f"s{len(there.servers)}", "status": "ACTIVE", "metadata": ours}
            there.servers[f"s{len(there.servers)}"] = server
        auth = {"auth_type": "v3password", "auth_url": f"{there.url}/identity/v3", "username": "joe", "password": "p",
                "user_domain_name": "d", "project_id": "p"}  # fmt: skip
        farm = place(there, missing_timeout=20, os_auth_args=auth, os_password=None)
        await farm.start()
        await reached(farm, "STARTING")
        await reached(farm, "ASLEEP")
        assert sorted(there.servers) == ["s1", "s2"]
        await farm.stop()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"image": None}, "give image, block_devices or both"),
        ({"os_password": None}, "give os_password, or all that is needed to log in by os_auth_args"),
        ({"block_devices": [{"volume_size": 3}]}, "block_devices element 1 must have a uuid"),
        ({"block_devices": [{"uuid": "u", "size": 3}]}, "block_devices element 1 has 'size', which is none of"),
        ({"client_version": "1.1"}, "client_version must be '2' or '2.N'"),
        ({"nova_args": {"nic": []}}, "nova_args has 'nic', which is none of"),
        ({"flavor": 3}, "flavor must be a text that is not empty"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name the worker."""
    given = {"flavor": "f", "image": "i", "os_username": "u", "os_password": "p", "os_tenant_name": "t",
             "os_auth_url": "https://c/v3", **arguments}  # fmt: skip
    with pytest.raises(ConfigErrors) as caught:
        OpenStackLatentWorker("w", "p", **given)
    assert f"OpenStackLatentWorker 'w': {complaint}" in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the configuration has an error, which names the package to install."""
    monkeypatch.setattr(kind, "find_spec", lambda name: None)
    with pytest.raises(ConfigErrors, match=r"needs the package openstacksdk.*tenfold\[openstack\]"):
        OpenStackLatentWorker("w", "p", "f", image="i", os_auth_args={})
