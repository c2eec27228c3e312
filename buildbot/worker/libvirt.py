"""Workers in virtual machines of libvirt, through the package ``libvirt-python``; its blocking calls run in threads."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.util.threads import OneByOne
from buildbot.worker.container import DockerBaseWorker

#: the key and the XML namespace of workers' metadata of a domain
KEY, NAMESPACE = "buildbot", "http://buildbot.net/"
#: seconds that making a disk may take
DISK_S = 600


def _xml(value: Any) -> str:
    text: str = checks.name(value)
    try:
        name = ElementTree.fromstring(text).findtext("name")
    except ElementTree.ParseError as problem:
        raise ValueError(f"must be the XML of a domain: {problem}") from None
    if not name:
        raise ValueError("must be the XML of a domain, with its <name>")
    return text


class Connection:
    """The address of libvirt, as a value of `uri` of a `LibVirtWorker`.

    Args:
        uri: such as ``qemu:///system``.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if not isinstance(uri, str) or not uri:
            error(f"Connection: uri must be a text that is not empty, not {checks.kind(uri)}")


def _uri(value: Any) -> str:
    return value.uri if isinstance(value, Connection) else str(checks.name(value))


class LibVirtWorker(DockerBaseWorker):
    """A virtual machine of libvirt, started for builds and switched off after them.

    It needs the package ``libvirt-python`` (``pip install 'tenfold[libvirt]'``). Without `xml` it is the domain with
    the worker's name; its metadata hold the agent's login: ``<auth username= password= master=/>`` in the namespace
    ``http://buildbot.net/``.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "password", "hd_image", "base_image", "uri", "xml", "masterFQDN")
    password = argument(REQUIRED, checks.name, doc="the password of the agent's login")
    hd_image = argument(
        None, checks.optional(checks.name), doc="the file of the machine's disk, which is made from `base_image`"
    )
    base_image = argument(
        None,
        checks.optional(checks.name),
        doc="the file of a disk that is not changed: each start makes a new `hd_image`, which stores the differences",
    )
    uri = argument(
        "system:///",
        _uri,
        doc="the address of libvirt, such as `qemu:///system` or `util.Connection('qemu:///system')`",
    )
    xml = argument(None, checks.optional(_xml), doc="the description of the machine, with which each start creates it")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        called = f"{type(self).__name__} {self.name!r}"
        if find_spec("libvirt") is None:
            error(f"{called} needs the package libvirt-python, which is not installed: pip install 'tenfold[libvirt]'")
        if self.base_image is not None and self.hd_image is None:
            error(f"{called}: base_image needs hd_image, the file that is made from it")
        self.__calls = OneByOne()
        self.__started = False

    @property
    def __domain_name(self) -> str:
        return str(ElementTree.fromstring(self.xml).findtext("name")) if self.xml else str(self.name)

    async def start_instance(self, build: Any) -> bool:
        """Start the machine; see `AbstractLatentWorker.start_instance`."""
        self.__started = True
        environment = self.createEnvironment(build)
        await self.__calls.call(self.__start, f"{environment['BUILDMASTER']}:{environment['BUILDMASTER_PORT']}")
        return True

    async def check_instance(self) -> tuple[bool, str]:
        """Whether the machine runs."""
        return await self.__calls.call(self.__is_active), "its machine does not run any more"

    async def stop_instance(self, fast: bool = False) -> None:
        """Switch the machine off; see `AbstractLatentWorker.stop_instance`."""
        if self.__started:
            self.__started = False
            await self.__calls.call(self.__stop)

    async def find_instance(self) -> bool:
        """Whether the machine of an earlier master still runs; its agent knows the password."""
        self.__started = await self.__calls.call(self.__is_active)
        return bool(self.__started)

    # in threads

    def __start(self, master: str) -> None:
        libvirt, connection = self.__connect()
        try:
            domain = self.__domain(libvirt, connection)
            if domain is not None and domain.isActive():
                domain.destroy()
            self.__make_disk()
            if self.xml is not None:
                connection.createXML(self.xml, 0)
                return
            if domain is None:
                raise LatentWorkerCannotSubstantiate(f"{self.uri} has no domain {self.__domain_name!r}")
            auth = " ".join(
                f"{key}={quoteattr(value)}"
                for key, value in (("username", self.name), ("password", self.password), ("master", master))
            )
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT, f"<auth {auth}/>", KEY, NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
            )
            domain.create()
        except libvirt.libvirtError as problem:
            raise LatentWorkerFailedToSubstantiate(f"libvirt says: {problem}") from problem
        finally:
            connection.close()

    def __make_disk(self) -> None:
        """Make `hd_image` from `base_image`: as a qcow2 overlay, or as a copy if there is no ``qemu-img``."""
        if self.base_image is None or self.hd_image is None:
            return
        base, disk = Path(self.base_image).absolute(), Path(self.hd_image)
        try:
            disk.unlink(missing_ok=True)
            if shutil.which("qemu-img") is None:
                shutil.copyfile(base, disk)
                return
            kind = "qcow2" if base.suffix == ".qcow2" else "raw"
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(base), str(disk)]
            made = subprocess.run(command, capture_output=True, text=True, timeout=DISK_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise LatentWorkerFailedToSubstantiate(f"the disk could not be made: {problem}") from problem
        if made.returncode != 0:
            raise LatentWorkerFailedToSubstantiate(f"the disk could not be made: {made.stderr.strip()}")

    def __is_active(self) -> bool:
        libvirt, connection = self.__connect()
        try:
            domain = self.__domain(libvirt, connection)
            return domain is not None and bool(domain.isActive())
        finally:
            connection.close()

    def __stop(self) -> None:
        libvirt, connection = self.__connect()
        try:
            domain = self.__domain(libvirt, connection)
            if domain is not None and domain.isActive():
                domain.destroy()
        finally:
            connection.close()
        if self.base_image is not None and self.hd_image is not None:
            Path(self.hd_image).unlink(missing_ok=True)

    def __connect(self) -> tuple[Any, Any]:
        libvirt = importlib.import_module("libvirt")
        try:
            return libvirt, libvirt.open(self.uri)
        except libvirt.libvirtError as problem:
            raise LatentWorkerFailedToSubstantiate(f"libvirt at {self.uri} does not answer: {problem}") from problem

    def __domain(self, libvirt: Any, connection: Any) -> Any:
        try:
            return connection.lookupByName(self.__domain_name)
        except libvirt.libvirtError as problem:
            if problem.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise LatentWorkerFailedToSubstantiate(f"libvirt says: {problem}") from problem
