"""Secrets in the engine: read by name when they are needed, and hidden from then on in everything that is stored.

The master's service ``secrets`` knows the providers, see `buildbot.secrets.manager`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
    value: Any = field(repr=False)


async def secret(properties: Any, name: str) -> Any:
    """The value of a secret, which `properties` hide from now on.

    Args:
        properties: the `Properties` that it is rendered with, in a build or with a ``master``.
        name: of the secret.

    Raises:
        KeyError: no provider has it.
    """
    master = getattr(properties, "master", None)
    services = getattr(master, "namedServices", None)
    manager = None if services is None else services.get("secrets")
    if manager is None:
        raise KeyError(f"secret key {name} is not found in any provider: c['secretsProviders'] names none")
    found: SecretDetails = await resolved(manager.get(name))
    properties.useSecret(found.value, name)
    return found.value
