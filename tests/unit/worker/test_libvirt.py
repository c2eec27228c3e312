"""Workers in virtual machines, with an imitation of libvirt by its documentation."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.steps.shell import ShellCommand
from buildbot.test.running import until
from buildbot.test.workers import LatentHarness
from buildbot.util.results import EXCEPTION, RETRY, SUCCESS
from buildbot.worker import libvirt as kind
from buildbot.worker.libvirt import LibVirtWorker


class LibvirtError(Exception):
    """The exception of the library."""

    def get_error_code(self) -> int:
        return int(self.args[1]) if len(self.args) > 1 else 1


class Domain:
    """A machine."""

    def __init__(self, transient: bool = False) -> None:
        self.active = transient
        self.metadata: list[str] = []
        self.disks: list[bool] = []
        self.disk: Path | None = None

    def isActive(self) -> int:
        return int(self.active)

    def setMetadata(self, kind: int, text: str, key: str, uri: str, flags: int) -> None:
        assert (kind, key, uri, flags) == (2, "buildbot", "http://buildbot.net/", 2)
        self.metadata.append(text)

    def create(self) -> None:
        if self.disk is not None:
            self.disks.append(self.disk.exists())
        self.active = True

    def destroy(self) -> None:
        self.active = False


class Library:
    """A hypervisor, and the module that connects to it."""

    VIR_DOMAIN_METADATA_ELEMENT = VIR_DOMAIN_AFFECT_CONFIG = 2
    VIR_ERR_NO_DOMAIN = 42
    libvirtError = LibvirtError

    def __init__(self) -> None:
        self.domains: dict[str, Domain] = {}
        self.open_connections = 0
        self.problem: Exception | None = None

    def open(self, uri: str) -> Any:
        if self.problem is not None:
            raise self.problem
        self.open_connections += 1
        return SimpleNamespace(lookupByName=self.lookup, createXML=self.create, close=self.close)

    def close(self) -> None:
        self.open_connections -= 1

    def lookup(self, name: str) -> Domain:
        if name not in self.domains:
            raise LibvirtError("no domain", 42)
        return self.domains[name]

    def create(self, xml: str, flags: int) -> None:
        self.domains[str(ElementTree.fromstring(xml).findtext("name"))] = Domain(transient=True)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setitem(sys.modules, "libvirt", made)
    monkeypatch.setattr(kind, "find_spec", lambda name: made)
    return made


def place(**arguments: Any) -> LatentHarness:
    given = {"masterFQDN": "master:9989", "build_wait_timeout": 0, "uri": "qemu:///system", **arguments}
    return LatentHarness(LibVirtWorker("w", 'p"&', **given), ShellCommand(command="true"))


async def reached(farm: LatentHarness, state: str) -> None:
    """Wait until the instance reaches a state and no thread is running."""

    async def is_there() -> bool:
        farm.clock.advance(0)
        return farm.managed.state.name == state and (state == "STARTING" or farm.managed._activity is None)

    await until(is_there)


async def test_a_domain_of_the_workers_name(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain is started with a new disk and the login, and switched off after the build; the disk is removed."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    library.domains["w"] = domain = Domain()
    (tmp_path / "base").write_text("disk")
    domain.disk = tmp_path / "disk"
    farm = place(base_image=str(tmp_path / "base"), hd_image=str(domain.disk))
    await farm.start()
    await reached(farm, "ASLEEP")
    buildid = await farm.build()

    async def runs() -> bool:
        return domain.active

    await until(runs)
    await farm.log_in()
    await farm.ended()
    assert farm.master.build(buildid)["results"] == SUCCESS
    await reached(farm, "ASLEEP")
    (auth,) = [ElementTree.fromstring(text).attrib for text in domain.metadata]
    assert auth == {"username": "w", "password": 'p"&', "master": "master:9989"}
    assert not domain.active and domain.disks == [True] and not domain.disk.exists()
    assert library.open_connections == 0
    await farm.stop()


async def test_a_domain_of_its_own(library: Library) -> None:
    """With `xml` each start creates the machine; one of an earlier master is used if its agent logs in."""
    xml = "<domain type='kvm'><name>machine</name></domain>"
    library.domains["machine"] = left = Domain(transient=True)
    farm = place(xml=xml)
    await farm.start()
    await reached(farm, "STARTING")
    await farm.log_in()
    await reached(farm, "ASLEEP")
    assert not left.active
    await farm.build()

    async def made() -> bool:
        return library.domains["machine"] is not left

    await until(made)
    await farm.log_in()
    await farm.ended()
    await reached(farm, "ASLEEP")
    assert not library.domains["machine"].active
    await farm.stop()


async def test_what_goes_wrong(library: Library, tmp_path: Path) -> None:
    """The build has the reason: no such domain, no libvirt, no base image."""
    farm = place(base_image=str(tmp_path / "base"), hd_image=str(tmp_path / "disk"))
    await farm.start()
    await reached(farm, "ASLEEP")

    async def built() -> dict[str, Any]:
        farm.managed.quarantine.leave()
        buildid = await farm.build()
        await farm.ended()
        await reached(farm, "ASLEEP")
        return farm.master.build(buildid)

    build = await built()
    assert build["results"] == RETRY and "the disk could not be made: " in build["state_string"]
    (tmp_path / "base").write_bytes(b"\0" * 1024)
    build = await built()
    assert build["results"] == EXCEPTION
    assert build["state_string"] == "worker cannot substantiate: qemu:///system has no domain 'w'"
    library.problem = LibvirtError("no socket")
    build = await built()
    assert build["state_string"] == "worker not available: libvirt at qemu:///system does not answer: no socket"
    await farm.stop()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"xml": "<domain"}, "xml must be the XML of a domain: unclosed token"),
        ({"xml": "<domain/>"}, "xml must be the XML of a domain, with its <name>"),
        ({"base_image": "/x"}, "base_image needs hd_image"),
        ({"uri": None}, "uri must be a text that is not empty"),
    ],
)
def test_mistakes(library: Library, arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name the worker."""
    with pytest.raises(ConfigErrors) as caught:
        LibVirtWorker("w", "p", **arguments)
    assert f"LibVirtWorker 'w': {complaint}" in str(caught.value)


def test_connection(library: Library) -> None:
    """`util.Connection` is a value of ``uri``."""
    assert LibVirtWorker("w", "p", "/disk", None, util.Connection("qemu:///session")).uri == "qemu:///session"
    with pytest.raises(ConfigErrors, match="Connection: uri must be a text that is not empty, not 3"):
        util.Connection(3)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the configuration has an error, which names the package to install."""
    monkeypatch.setattr(kind, "find_spec", lambda name: None)
    with pytest.raises(ConfigErrors, match=r"needs the package libvirt-python.*tenfold\[libvirt\]"):
        LibVirtWorker("w", "p")
