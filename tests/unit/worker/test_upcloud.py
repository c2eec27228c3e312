"""Workers in servers of UpCloud, with an imitation of its API by its documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.web.resource import Resource

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Interpolate, Property
from buildbot.steps.shell import ShellCommand
from buildbot.test.workers import LatentHarness
from buildbot.util.httpclient import HttpClient
from buildbot.util.results import EXCEPTION, RETRY, SUCCESS
from buildbot.worker.upcloud import UpcloudLatentWorker, with_environment

_Resource: Any = Resource  # has no types
TEMPLATE = "01000000-0000-4000-8000-000030200200"


class Api(_Resource):  # type: ignore[misc]
    """Servers and templates; each request for the state of a server moves it to the next state."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.logins: set[str | None] = set()
        self.refuse: tuple[int, bytes] | None = None
        self.states = ["maintenance", "started"]
        self.made = 0

    def render(self, request: Any) -> bytes:
        path = request.uri.decode().removeprefix("/1.3")
        self.asked.append(f"{request.method.decode()} {path}")
        self.logins.add(request.getHeader("authorization"))
        body = json.loads(request.content.read() or b"{}")
        if self.refuse is not None and request.method == b"POST":
            request.setResponseCode(self.refuse[0])
            return self.refuse[1]
        if path == "/storage/template":
            return json.dumps({"storages": {"storage": [{"uuid": TEMPLATE, "title": "Debian 12"}]}}).encode()
        if path.startswith("/server?"):
            limit, offset = (int(request.args[name][0]) for name in (b"limit", b"offset"))
            listed = [{"uuid": uuid, "title": each["title"]} for uuid, each in self.servers.items()]
            return json.dumps({"servers": {"server": listed[offset : offset + limit]}}).encode()
        if path == "/server":
            self.made += 1
            uuid = f"u{self.made}"
            self.servers[uuid] = {**body["server"], "uuid": uuid, "states": list(self.states)}
            request.setResponseCode(202)
            return json.dumps({"server": {"uuid": uuid, "state": "maintenance"}}).encode()
        uuid, _, action = path.removeprefix("/server/").partition("?")[0].partition("/")
        if uuid not in self.servers:
            request.setResponseCode(404)
            return b'{"error": {"error_message": "no such server"}}'
        server = self.servers[uuid]
        if request.method == b"DELETE":
            del self.servers[uuid]
            request.setResponseCode(204)
            return b""
        if action == "stop":
            server["states"] = ["started", "stopped"]
        state = server["states"].pop(0) if len(server["states"]) > 1 else server["states"][0]
        return json.dumps({"server": {"uuid": uuid, "state": state}}).encode()


class Place:
    """A master with a worker in servers of UpCloud."""

    def __init__(self, **arguments: Any) -> None:
        self.api = Api()
        given = {"image": "Debian 12", "masterFQDN": "master:9989", "build_wait_timeout": 0, **arguments}
        worker = UpcloudLatentWorker("w_1", None, "me", "pw", **given)
        self.farm = LatentHarness(worker, ShellCommand(command="true"))
        agent: Any = RequestTraversalAgent(self.api)  # type: ignore[no-untyped-call]
        self.farm.master.httpservice = HttpClient(self.farm.clock, agent)

    async def result(self, **properties: Any) -> tuple[int, str]:
        """The result of a build that gets no server."""
        buildid = await self.farm.build(**properties)
        await self.farm.ended()
        build = self.farm.master.build(buildid)
        return build["results"], build["state_string"]


async def test_a_server_for_a_build() -> None:
    """The server is made as configured, awaited, stopped after the build, and deleted with its disk."""
    place = Place(
        image=Property("image"),
        hostconfig={
            "plan": "custom", "core_number": 4, "memory_amount": 8192, "os_disk_size": 30, "zone": "fi-hel1",
            "ssh_keys": ["ssh-ed25519 A"], "hostname": "builder",
            "user_data": Interpolate("#!/bin/sh\nstart %(prop:image)s"),
        },
    )  # fmt: skip
    api, farm = place.api, place.farm
    await farm.start()
    assert api.asked == ["GET /server?limit=100&offset=0"] and api.logins == {"Basic bWU6cHc="}
    api.asked.clear()
    buildid = await farm.build(image="Debian 12")
    assert api.asked == ["GET /storage/template", "POST /server", "GET /server/u1"]
    (server,) = api.servers.values()
    script = server.pop("user_data")
    assert script.startswith("#!/bin/sh\nexport BUILDMASTER=master\n") and script.endswith("\nstart Debian 12")
    assert "export BUILDMASTER_PORT=9989\n" in script and "export WORKERNAME=w_1\n" in script
    title = str(farm.worker.getContainerName())
    assert {name: value for name, value in server.items() if name not in ("uuid", "states")} == {
        "zone": "fi-hel1", "title": title, "hostname": "builder", "plan": "custom", "core_number": 4,
        "memory_amount": 8192, "metadata": "yes", "password_delivery": "none",
        "storage_devices": {
            "storage_device": [{"action": "clone", "storage": TEMPLATE, "title": title, "size": 30}]
        },
        "login_user": {"create_password": "no", "ssh_keys": {"ssh_key": ["ssh-ed25519 A"]}},
    }  # fmt: skip
    farm.clock.advance(5)
    await farm.log_in()
    await farm.ended()
    assert farm.master.build(buildid)["results"] == SUCCESS
    api.asked.clear()
    farm.clock.advance(0)
    farm.clock.advance(5)
    assert api.servers == {} and farm.managed.state.name == "ASLEEP"
    assert [each for each in api.asked if not each.startswith("GET")] == [
        "POST /server/u1/stop", "DELETE /server/u1?storages=1",
    ]  # fmt: skip
    await farm.stop()


async def test_what_is_usual() -> None:
    """Without a host configuration it is the smallest plan; a template may be named by its id; a server of an earlier
    master is deleted when the master begins."""
    place = Place(image=TEMPLATE)
    await place.farm.start()
    place.api.servers["old"] = {"title": str(place.farm.worker.getContainerName()), "states": ["stopped"]}
    await place.farm.managed.worker.find_instance()
    assert place.api.servers == {}
    await place.farm.build()
    (server,) = place.api.servers.values()
    assert (server["plan"], server["zone"]) == ("1xCPU-1GB", "de-fra1")
    assert server["storage_devices"]["storage_device"][0]["size"] == 10
    assert "user_data" not in server and "login_user" not in server and "core_number" not in server
    place.farm.clock.advance(5)
    await place.farm.log_in()
    await place.farm.ended()
    await place.farm.stop()
    assert place.api.servers == {}


async def test_what_upcloud_refuses() -> None:
    """The build has UpCloud's message; with a missing template it ends with EXCEPTION."""
    place = Place(image=Property("image"))
    await place.farm.start()
    place.api.refuse = 402, b'{"error": {"error_code": "INSUFFICIENT_CREDITS", "error_message": "no credits"}}'
    text = "worker not available: POST https://api.upcloud.com/1.3/server answers 402: no credits"
    assert await place.result(image=TEMPLATE) == (RETRY, text)
    place.farm.managed.quarantine.leave()
    place.api.refuse = 502, b"<html>"
    results, text = await place.result(image=TEMPLATE)
    assert results == RETRY and "answers without JSON" in text
    place.farm.managed.quarantine.leave()
    assert await place.result(image="BeOS") == (
        EXCEPTION,
        "worker cannot substantiate: UpCloud has no template 'BeOS'",
    )
    await place.farm.stop()


async def test_a_server_that_fails() -> None:
    """A server that does not start, or disappears, is deleted, and the build is tried again."""
    place = Place(image=TEMPLATE)
    await place.farm.start()
    place.api.states = ["error"]
    results, text = await place.result()
    assert (results, text) == (RETRY, "worker not available: server u1 is error, not started")
    place.farm.clock.advance(5)
    assert place.api.servers == {}
    place.farm.managed.quarantine.leave()
    place.api.states = ["started"]
    buildid = await place.farm.build()
    place.api.servers.clear()
    place.farm.clock.advance(10)
    await place.farm.ended()
    text = "worker not available: its instance is not well: server u2 is gone"
    assert place.farm.master.build(buildid)["state_string"] == text
    await place.farm.stop()


async def test_an_answer_that_is_lost() -> None:
    """A server whose creation was not confirmed is found by its title, on any page, and deleted."""
    place = Place(image=TEMPLATE)
    await place.farm.start()
    title = str(place.farm.worker.getContainerName())
    place.api.refuse = 500, b"{}"
    others = {f"other {number}": {"title": "another", "states": ["started"]} for number in range(250)}
    place.api.servers = {**others, "lost": {"title": title, "states": ["stopped"]}}
    assert (await place.result())[0] == RETRY
    assert place.api.servers == others
    await place.farm.stop()


def test_scripts() -> None:
    """Variables follow the first line of a script, quoted; other texts are unchanged."""
    assert with_environment("#!/bin/sh\nx", {"A": "b c"}) == "#!/bin/sh\nexport A='b c'\nx"
    assert with_environment("#!/bin/sh", {"A": "b"}) == "#!/bin/sh\nexport A=b\n"
    assert with_environment("#cloud-config\nx: 1", {"A": "b"}) == "#cloud-config\nx: 1"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "argument 'api_username' is missing"),
        ({"image": ""}, "image must be a text that is not empty"),
        ({"hostconfig": {"zones": "x"}}, "hostconfig ['zones'] is unknown; did you mean 'zone'?"),
        ({"hostconfig": {"os_disk_size": "x"}}, "hostconfig ['os_disk_size'] must be a whole number"),
        ({"base_url": "x"}, "base_url must be a URL"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    given = {"api_username": "u", "api_password": "p", "image": "i", **arguments} if arguments else {}
    with pytest.raises(ConfigErrors) as caught:
        UpcloudLatentWorker("w", **given)
    assert complaint in str(caught.value)
