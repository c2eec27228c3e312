"""Further renderables beside those of `buildbot.process.properties`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from buildbot.config.errors import error
from buildbot.interfaces import PropertiesLike
from buildbot.process.rendering import Renderable, rendered, substitutions
from buildbot.util.deferreds import resolved


class OnPage(Protocol):
    """A build with a page."""

    def getUrl(self) -> str: ...


class InBuild(PropertiesLike, Protocol):
    """The properties of a build, which is None where there is none."""

    def getBuild(self) -> OnPage | None: ...


class WithProperties(Renderable):
    """A format text with properties, for old configurations; see `Interpolate`.

    ``WithProperties("%s-%s", "branch", "revision")`` names properties by position.
    ``WithProperties("%(branch)s")`` names them in the text. After the name may follow ``:-text`` (text if there is no
    such property), ``:~text`` (if it is false) or ``:+text`` (text if there is one, else nothing). None becomes empty.

    Args:
        fmtstring: the text.
        args: names of properties, for ``%s``.
        lambdas: ``name=f(build)``, for ``%(name)s``.
    """

    def __init__(self, fmtstring: str, *args: str, **lambdas: Any) -> None:
        self.fmtstring, self.args = fmtstring, args
        self.lambdas: dict[str, Callable[[OnPage | None], object]] = lambdas
        if args and lambdas:
            error(f"WithProperties({fmtstring!r}) takes either names of properties or functions, not both")
        try:
            keys = [] if args else [(key, shown) for key, shown in substitutions(fmtstring)]
            for key, shown in keys:
                if key is None:
                    raise ValueError(f"nothing is given for {shown!r}; a percent sign is written %%")
            fmtstring % (tuple(0 for _ in args) if args else {key: 0 for key, _ in keys})
        except (TypeError, ValueError) as problem:
            error(f"WithProperties({fmtstring!r}): {problem}")
        function: object
        for name, function in lambdas.items():
            if not callable(function):
                error(f"WithProperties({fmtstring!r}): {name} must be a function of the build, not {function!r}")

    def __repr__(self) -> str:
        return f"WithProperties({self.fmtstring!r})"

    async def getRenderingFor(self, props: InBuild) -> str:
        """The filled-in text. Raises KeyError if a property is missing."""
        if self.args:
            return self.fmtstring % tuple([_text(await _value(props, name)) for name in self.args])
        found = {name: await resolved(function(props.getBuild())) for name, function in self.lambdas.items()}
        return self.fmtstring % {
            key: _text(found[key] if key in found else await _named(props, key)) for key in _keys(self.fmtstring)
        }


async def _value(props: PropertiesLike, name: str) -> Any:
    if not props.hasProperty(name):
        raise KeyError(name)
    return await rendered(props.getProperty(name), props)


async def _named(props: PropertiesLike, key: str) -> Any:
    """The value of ``name``, ``name:-text``, ``name:~text`` or ``name:+text``."""
    found = re.fullmatch(r"(.*?):([-~+])(.*)", key, re.DOTALL)
    if found is None:
        return await _value(props, key)
    name, sign, text = found.groups()
    there = props.hasProperty(name)
    if sign == "+":
        return text if there else ""
    value = await _value(props, name) if there else None
    return text if not there or (sign == "~" and not value) else value


def _text(value: object) -> object:
    return "" if value is None else value


def _keys(text: str) -> Iterator[str]:
    """The keys of ``%(key)s`` in a text."""
    return (found[1] for found in re.finditer(r"%(?:%|\(([^()]*)\))", text) if found[1] is not None)


class FlattenList(Renderable):
    """The elements of a list and of the lists in it, rendered, as one list.

    Args:
        nestedlist: the list; a renderable that gives one will do.
        types: the types that count as lists.
    """

    def __init__(self, nestedlist: object, types: type | tuple[type, ...] = (list, tuple)) -> None:
        self.nestedlist = nestedlist
        self.types = types if isinstance(types, type) else tuple(types)

    def __repr__(self) -> str:
        return f"FlattenList({self.nestedlist!r})"

    async def getRenderingFor(self, props: PropertiesLike) -> list[Any]:
        """The flat list."""
        return list(self._flat(await rendered(self.nestedlist, props)))

    def _flat(self, items: Any) -> Iterator[object]:
        for item in items:
            if isinstance(item, self.types):
                yield from self._flat(item)
            else:
                yield item


class _URLForBuild(Renderable):
    """The address of the build's page."""

    def __repr__(self) -> str:
        return "URLForBuild"

    def getRenderingFor(self, props: InBuild) -> str:
        """The address. Raises ValueError where there is no build."""
        build = props.getBuild()
        if build is None:
            raise ValueError("URLForBuild can be rendered in a build only")
        return str(build.getUrl())


#: the address of the build's page
URLForBuild = _URLForBuild()
