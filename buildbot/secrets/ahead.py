"""The secrets in ``db_url``, which are read before a master exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from buildbot.config import database_url
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.interfaces import is_renderable
from buildbot.process.properties import Properties
from buildbot.secrets.manager import SecretManager
from buildbot.util.httpclient import HttpClient


class _Asking:
    """The methods of a master that providers of secrets use."""

    def __init__(self, config: MasterConfig, basedir: Path, reactor: Any) -> None:
        self.config, self.basedir, self.reactor = config, basedir, reactor
        self.httpservice = HttpClient(reactor)
        self.secrets = SecretManager(self)
        self.namedServices = {"secrets": self.secrets}


async def db_url_of(config: MasterConfig, basedir: Path, reactor: Any) -> str:
    """The database URL of a configuration, with the values of its secrets.

    Args:
        config: the configuration; its providers of secrets run during this call only.
        basedir: the master's directory.
        reactor: for providers that use the network or run programs.

    Raises:
        ConfigErrors: a secret is not found, or the result is no database URL; the message has no value of a secret.
    """
    if not is_renderable(config.db_url):
        return str(config.db_url)
    asking = _Asking(config, basedir, reactor)
    await asking.secrets.startService()
    try:
        await asking.secrets.use(cast(Any, config.secretsProviders))
        known = Properties()
        known.master = asking
        return database_url.checked(await known.render(config.db_url))
    except (KeyError, ValueError, OSError) as reason:
        said = reason.args[0] if isinstance(reason, KeyError) and reason.args else reason
        raise ConfigErrors([f"db_url: {said}"]) from None
    finally:
        await asking.secrets.stopService()
        await asking.httpservice.close()


def db_url_now(config: MasterConfig, basedir: Path) -> str:
    """`db_url_of` for commands whose process may run Twisted's reactor later."""
    if not is_renderable(config.db_url):
        return str(config.db_url)
    from twisted.internet.selectreactor import SelectReactor

    reactor: Any = SelectReactor()  # the reactor of the process runs only once
    outcome: list[Any] = []

    def finish(result: Any) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(db_url_of(config, basedir, reactor)).addBoth(finish))
    reactor.run()
    if not outcome:
        raise ConfigErrors(["db_url: interrupted while its secrets were read"])
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return str(outcome[0])
