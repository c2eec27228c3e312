"""The manager of secrets, which asks the providers of the configuration in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from buildbot.process.secrets import SecretDetails
from buildbot.process.servicemanager import ServiceManager
from buildbot.secrets.providers.base import SecretProviderBase
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.redaction import known

_log = Logger()


class SecretManager(ServiceManager):
    """The master's service ``secrets``. It caches no values: each call asks the providers."""

    name = "secrets"

    def __init__(self, master: Any) -> None:
        super().__init__(master)
        self.__providers: list[str] = []

    async def use(self, providers: Sequence[SecretProviderBase]) -> None:
        """Ask these providers from now on; others are stopped."""
        self.__providers = [each.name for each in providers]
        await self.configure(providers)

    @deferred
    async def get(self, secret: str) -> SecretDetails:
        """A secret by its name, from the first provider that has it; Deferred.

        Raises:
            KeyError: no provider has it; the message names providers that do not run.
            Exception: the error of a provider; later providers are not asked then.
        """
        named, idle = self.named, []
        for name in self.__providers:
            provider = named.get(name)
            if provider is None or not provider.running:
                idle.append(name)
                continue
            value = await resolved(provider.get(secret))
            if value is not None:
                known.add(value, secret)
                if isinstance(value, str) and not value.strip():
                    _log.warn("the secret {secret} of {provider} is empty", secret=secret, provider=name)
                return SecretDetails(type(provider).__name__, secret, value)
        why = f" ({', '.join(idle)} could not be asked: see the log)" if idle else ""
        raise KeyError(f"secret key {secret} is not found in any provider{why}")
