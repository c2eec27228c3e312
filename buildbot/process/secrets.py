"""Secrets in the engine: read by name when they are needed, and hidden from then on in everything that is stored.

The master's service ``secrets`` knows the providers, see `buildbot.secrets.manager`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from buildbot.util.deferreds import resolved


@dataclass(frozen=True)
class SecretDetails:
    """A secret that was found.

    Attributes:
        source: the provider that has it.
        key: its name.
        value: the secret itself; `repr` does not show it.
    """

    source: str
    key: str
    value: object = field(repr=False)


class SecretsLike(Protocol):
    """The master's service ``secrets``."""

    def get(self, secret: str) -> Awaitable[SecretDetails] | SecretDetails:
        """A secret."""


class SecretUser(Protocol):
    """The properties that a secret is rendered with."""

    def useSecret(self, secret_value: object, placeholder: str) -> None:
        """Hide a secret from now on."""


async def secret(properties: SecretUser, name: str) -> object:
    """The value of a secret, which `properties` hide from now on.

    Args:
        properties: the `Properties` that it is rendered with, in a build or with a ``master``.
        name: of the secret.

    Raises:
        KeyError: no provider has it.
    """
    master = getattr(properties, "master", None)
    services: Mapping[str, SecretsLike] | None = getattr(master, "namedServices", None)
    manager = None if services is None else services.get("secrets")
    if manager is None:
        raise KeyError(f"secret key {name} is not found in any provider: c['secretsProviders'] names none")
    found = await resolved(manager.get(name))
    properties.useSecret(found.value, name)
    return found.value
