"""The secrets in ``db_url``, which are needed before there is a master that asks for secrets."""

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
    """The database URL of a configuration, with the secrets in it.

    Args:
        config: whose providers of secrets are asked; they run only meanwhile.
        basedir: the master's directory.
        reactor: Twisted's, for providers that ask elsewhere.

    Raises:
        ConfigErrors: a secret is not found, or what comes out is no database URL; the message names no secret's value.
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
    """`db_url_of` for commands, before Twisted's reactor runs, if it does at all."""
    if not is_renderable(config.db_url):
        return str(config.db_url)
    from twisted.internet.selectreactor import SelectReactor

    reactor: Any = SelectReactor()  # that of the process can run but once
    outcome: list[Any] = []

    def finish(result: Any) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(db_url_of(config, basedir, reactor)).addBoth(finish))
    reactor.run()
    if not outcome:
        raise ConfigErrors(["db_url: interrupted while its secrets were asked for"])
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return str(outcome[0])
