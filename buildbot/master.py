"""A master: the only module that knows all parts, and builds them from the bottom up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.logger import Logger

from buildbot.config.errors import ConfigErrors
from buildbot.config.loader import load_config
from buildbot.config.master import MasterConfig
from buildbot.life import MasterService
from buildbot.process.heartbeat import Heartbeat
from buildbot.process.janitor import Janitor
from buildbot.process.properties import Properties
from buildbot.process.service import BuildbotService
from buildbot.process.servicemanager import ServiceManager
from buildbot.process.services import ProcessLayer
from buildbot.process.workers.clientports import ClientPorts
from buildbot.secrets.ahead import db_url_of
from buildbot.secrets.manager import SecretManager
from buildbot.secrets.providers.base import SecretProviderBase
from buildbot.state import StateLayer, default_name, openMaster
from buildbot.util.background import in_background
from buildbot.www.site import WwwServer

log = Logger()

#: the line of the log that people's scripts wait for
CLEAN_SHUTDOWN = "Initiating clean shutdown"


@dataclass
class LogRotation:
    """How a master's logs are rotated.

    Attributes:
        rotateLength: bytes after which a log is rotated; 0 or None: never.
        maxRotatedFiles: how many rotated ones are kept; None: all.
    """

    rotateLength: int | None = 10_000_000
    maxRotatedFiles: int | None = 10


class BuildMaster(StateLayer):
    """The full master of a directory: the state layer with everything that runs on it.

    Attributes:
        basedir: its directory.
        config: the configuration that it runs.
        failed: it had to end.
        service_manager: runs the services of the configuration.
        secrets: asks its providers for secrets.
        log_rotation: of its logs.

    Args:
        basedir: its directory.
        configfile: the configuration, in that directory; default ``master.cfg``.
        umask: of the process, where an application of Twisted's runs it; None: as it was started.
        reactor: Twisted's; an application of Twisted's brings its own.
    """

    def __init__(
        self,
        basedir: str | Path,
        configfile: str | None = None,
        umask: int | None = None,
        reactor: Any = None,
    ) -> None:
        self.basedir = Path(basedir).absolute()
        self._configfile = configfile or "master.cfg"
        self._umask = umask
        self.reactor = reactor
        self.log_rotation = LogRotation()
        self.config: MasterConfig
        self._db_url = ""
        self.failed = False
        #: whether it starts no more builds and ends when those that run have ended
        self.is_leaving = False
        self._process: ProcessLayer | None = None
        self._heartbeat: Heartbeat | None = None
        self._janitor: Janitor | None = None
        self._www: WwwServer | None = None
        self._manhole: Any = None
        self.service_manager = ServiceManager(self)
        self.secrets = SecretManager(self)

    @property
    def namedServices(self) -> Mapping[str, Any]:
        """The running services by name."""
        return {**self.service_manager.named, "services": self.service_manager, "secrets": self.secrets}

    def setServiceParent(self, parent: Any) -> None:
        """Run as a part of an application of Twisted's, as a ``buildbot.tac`` does that ``twistd`` runs."""
        service = MasterService(self, self.basedir, self._umask)
        service.setServiceParent(parent)  # type: ignore[no-untyped-call]

    async def start(self) -> None:
        """Read the configuration and run it.

        Raises:
            ConfigErrors: all mistakes of the configuration.
            DatabaseNotReadyError: run ``upgrade-master`` first.
            CannotListenError: a port is in use.

        After an error nothing is left running.
        """
        self.config = config = load_config(self.basedir, self._configfile)
        self._db_url = await db_url_of(config, self.basedir, self.reactor)
        super().__init__(self._db_url, default_name(self.basedir), self.reactor, self.basedir)
        try:
            await self.open()
            await self.secrets.startService()
            await self.secrets.use(_providers(config))
            self._process = ProcessLayer(self)
            self.metrics.add(self._process.workers.metrics)
            self._heartbeat = Heartbeat(self, self._declared_dead)
            self._www = WwwServer(self, config.www, config.buildbotURL, config.title, config.titleURL)
            self._www.starting = True
            await self._www.start()
            await self._heartbeat.start()
            await self._process.start(config)
            await self.service_manager.startService()
            await self.service_manager.configure(_services(config))
            self._www.starting = False
            self._janitor = Janitor(self, config.retention)
            self._janitor.start()
            await self._change_manhole(config.manhole)
        except BaseException:
            await self.stop()
            raise

    @property
    def botmaster(self) -> ProcessLayer:
        """What builds, as steps and functions of people's own know it: ``builders`` by name, ``getBuilderById``."""
        assert self._process is not None  # which runs those that ask
        return self._process

    @property
    def client_ports(self) -> ClientPorts:
        """The ports at which clients that are not workers log in over PB."""
        assert self._process is not None  # whose parts ask for them
        return self._process.client_ports

    async def rendered(self, value: Any, properties: Mapping[str, Any] | None = None) -> Any:
        """``value`` with the renderables in it, secrets for example, replaced; outside of any build.

        Args:
            properties: that it is rendered with, by name.
        """
        known = Properties(**(properties or {}))
        known.master = self
        return await known.render(value)

    def is_late(self) -> bool:
        """Whether its heartbeat has not come through for so long that the others may soon take it for dead."""
        return self._heartbeat is not None and self._heartbeat.is_late

    async def reconfig(self) -> None:
        """Read the configuration again and change to it; with mistakes in it, or if a port of it is in use, the running
        one stays.

        Raises ConfigErrors, CannotListenError.
        """
        config = load_config(self.basedir, self._configfile)
        if await db_url_of(config, self.basedir, self.reactor) != self._db_url:
            raise ConfigErrors(["db_url: cannot be changed while the master runs; restart it"])
        assert self._process is not None
        try:
            await self._open(config)
        except BaseException:
            await self._open(self.config)
            raise
        self.config = config
        await self._process.reconfigure(config)
        await self.service_manager.configure(_services(config))
        if self._janitor is not None:
            self._janitor.retention = config.retention

    async def _open(self, config: MasterConfig) -> None:
        """Ask the providers of secrets of a configuration, and listen at its ports; the rest stays as it is."""
        assert self._process is not None and self._www is not None
        await self.secrets.use(_providers(config))
        await self._www.reconfigure(config.www, config.buildbotURL, config.title, config.titleURL)
        await self._process.listen(config)
        await self._change_manhole(config.manhole)

    def leave(self) -> None:
        """Start only builds that running builds wait for, and stop the reactor after all of them; see `stay`."""
        if not self.is_leaving:
            log.info(CLEAN_SHUTDOWN)
            self.is_leaving = True
            in_background(self._leave(), "a clean shutdown")

    async def _leave(self) -> None:
        is_idle = self._process is None or await self._process.drain()
        if is_idle and self.is_leaving and self.reactor.running:
            self.reactor.stop()

    async def stay(self) -> None:
        """Start builds again, after `leave`."""
        if self.is_leaving and self._process is not None:
            log.info("the clean shutdown is taken back")
            self.is_leaving = False
            await self._process.resume()

    async def stop(self) -> None:
        """End everything that runs; builds that run are built again at the next start."""
        await self._change_manhole(None)
        if self._janitor is not None:
            self._janitor.stop()
        if self.service_manager.running:
            await self.service_manager.stopService()
        if self._www is not None:
            await self._www.stop()
        if self._process is not None:
            await self._process.stop()
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        if self.secrets.running:
            await self.secrets.stopService()
        if hasattr(self, "db"):
            await self.close()

    async def _change_manhole(self, wanted: Any) -> None:
        """Have the prompt that is configured, or none; one that stays the same stays open."""
        if self._manhole is not None and not self._manhole.same_as(wanted):
            manhole, self._manhole = self._manhole, None
            await manhole.stop()
        if self._manhole is None and wanted is not None:
            await wanted.start(self)
            self._manhole = wanted

    def _events_skipped(self) -> None:
        # Schedulers, builds and workers follow the log too. They could each begin anew, but so does a new process, and
        # its start is what is tried every day.
        log.critical("this master was away for longer than the log of events reaches back; it ends, start it again")
        self.failed = True
        self.reactor.stop()

    async def _declared_dead(self) -> None:
        assert self._process is not None
        await self._process.declared_dead()


def _services(config: MasterConfig) -> Sequence[BuildbotService]:
    """Services and user managers of a configuration as what they are; it knows no more than their shape."""
    return cast("Sequence[BuildbotService]", [*config.services, *config.user_managers])


def _providers(config: MasterConfig) -> Sequence[SecretProviderBase]:
    """The same for providers of secrets."""
    return cast("Sequence[SecretProviderBase]", config.secretsProviders)


__all__ = ["BuildMaster", "StateLayer", "default_name", "openMaster"]
