"""The plugins of a namespace by name, for code that looks for them (``buildbot.plugins.db.get_plugins``)."""

from __future__ import annotations

from typing import Any

from buildbot.plugins import NAMESPACES


class Plugins:
    """The plugins of a namespace; each is an attribute, too.

    Args:
        namespace: its name in `buildbot.plugins`.
        interface: one of `buildbot.interfaces`, which they have to provide; None: any.
    """

    def __init__(self, namespace: str, interface: Any = None) -> None:
        if namespace not in NAMESPACES:
            raise ValueError(f"there is no namespace {namespace!r}; there are {', '.join(NAMESPACES)}")
        self.namespace = namespace
        self.__interface = interface

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return dir(NAMESPACES[self.namespace])

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def get(self, name: str) -> Any:
        """A plugin.

        Raises:
            AttributeError: there is none of this name; the message names those that are close.
            TypeError: it does not provide the interface.
        """
        found = getattr(NAMESPACES[self.namespace], name)
        if self.__interface is not None and not self.__interface.implementedBy(found):
            raise TypeError(f"{self.namespace}.{name} does not provide {self.__interface.__name__}")
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)


def get_plugins(namespace: str, interface: Any = None, load_now: bool = False) -> Plugins:
    """The plugins of a namespace.

    Args:
        namespace: ``steps``, ``schedulers``, …
        interface: one of `buildbot.interfaces`, which they have to provide; None: any.
        load_now: import them all now, so that one that cannot be imported is an error here.

    Raises:
        ValueError: there is no such namespace.
    """
    found = Plugins(namespace, interface)
    if load_now:
        for name in found.names:
            found.get(name)
    return found
