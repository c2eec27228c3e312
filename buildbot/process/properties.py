"""Properties of a build, and renderables: values in a configuration that are rendered with the properties of a build.

Renderables are `Property`, `Interpolate`, `Transform`, functions decorated with `renderer`, the results of operators on
renderables (see `buildbot.process.rendering`), and users' own classes with ``getRenderingFor(props)``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zope.interface import implementer

from buildbot.config.errors import error
from buildbot.interfaces import IProperties, IRenderable, holds_renderable, is_renderable
from buildbot.process.renderables import FlattenList, URLForBuild, WithProperties
from buildbot.process.rendering import Renderable, rendered, substitutions
from buildbot.process.secrets import secret
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.redaction import Redactor

__all__ = [
    "FlattenList",
    "IRenderable",
    "Interpolate",
    "Properties",
    "Property",
    "RenderingBuild",
    "Secret",
    "Transform",
    "URLForBuild",
    "WithProperties",
    "renderer",
    "resolved",
]


class RenderingBuild(Protocol):
    """The build for which renderables are rendered."""

    def getSourceStamp(self, codebase: str = "") -> Mapping[str, Any] | None:
        """The build's source stamp of a codebase; None if it has none."""

    def getWorkerInfo(self) -> Mapping[str, Any]:
        """The information that the worker sent when it connected."""


@implementer(IProperties)
class Properties:
    """Named JSON values, each with the source that it came from.

    Args:
        values: first properties, by name; their source is ``TEST``, since tests use this.

    Attributes:
        build: the build with these properties; None for properties of a scheduler, for example.
        changes, files, sourcestamps: of the build, as the Data API gives them; empty without a build.
        master: the master, which gives secrets; None if there is none.
        redactor: hides the secrets that were rendered with these properties.
    """

    def __init__(self, **values: object) -> None:
        self.build: RenderingBuild | None = None
        self.master: object = None
        self.redactor = Redactor()
        self._values: dict[str, tuple[object, str]] = {}
        self._runtime: set[str] = set()
        for name, value in values.items():
            self.setProperty(name, value, "TEST")

    @classmethod
    def fromDict(cls, values: Mapping[str, Sequence[Any]]) -> Properties:
        """Properties from ``{name: (value, source)}``."""
        made = cls()
        for name, (value, source) in values.items():
            made.setProperty(name, value, source)
        return made

    def __getattr__(self, name: str) -> Any:
        """Attributes of the build; properties without a build may have them set."""
        asked = {"changes": "allChanges", "files": "allFiles", "sourcestamps": "getAllSourceStamps"}.get(name)
        if asked is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        build = self.__dict__.get("build")
        return [] if build is None else getattr(build, asked)()

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Any:
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Properties({ {name: value for name, (value, _) in self._values.items()} })"

    def hasProperty(self, name: str) -> bool:
        """Whether there is a property of this name."""
        return name in self._values

    def getProperty(self, name: str, default: Any = None) -> Any:
        """The value of a property; ``default`` if there is none."""
        return self._values[name][0] if name in self._values else default

    def getPropertySource(self, name: str) -> str:
        """The source of a property; KeyError if there is no such property."""
        return self._values[name][1]

    def setProperty(self, name: str, value: object, source: str, runtime: bool = False) -> None:
        """Set a property, over an older value.

        Args:
            runtime: the property is about this run only; see `updateFromPropertiesNoRuntime`.

        Raises:
            TypeError: the name is not text, or the value is not JSON.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a property must be a text, not {name!r}")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as problem:
            raise TypeError(f"property {name!r} is not a JSON value: {problem}") from None
        self._set(name, value, source, runtime)

    def _set(self, name: str, value: object, source: str, runtime: bool) -> None:
        self._values[name] = (value, source)
        if runtime:
            self._runtime.add(name)
        else:
            self._runtime.discard(name)

    def update(self, values: Mapping[str, object], source: str, runtime: bool = False) -> None:
        """Set several properties with one source. Renderables stay, and are rendered where they are used."""
        for name, value in values.items():
            if holds_renderable(value):
                self._set(name, value, source, runtime)
            else:
                self.setProperty(name, value, source, runtime)

    def updateFromProperties(self, other: Properties) -> None:
        """Add all properties of ``other`` with their sources."""
        self._values.update(other._values)
        self._runtime = (self._runtime - other._values.keys()) | other._runtime

    def updateFromPropertiesNoRuntime(self, other: Properties) -> None:
        """Add the properties of ``other`` with their sources, except those about its run only."""
        for name, (value, source) in other._values.items():
            if name not in other._runtime:
                self._set(name, value, source, False)

    def asDict(self) -> dict[str, tuple[Any, str]]:
        """All properties as ``{name: (value, source)}``."""
        return dict(self._values)

    def asList(self) -> list[tuple[str, Any, str]]:
        """All properties as ``(name, value, source)``, sorted by name."""
        return sorted((name, value, source) for name, (value, source) in self._values.items())

    def getProperties(self) -> Properties:
        """These properties."""
        return self

    def getSourceStamp(self, codebase: str = "") -> Mapping[str, Any] | None:
        """The build's source stamp of a codebase; None if it has none."""
        return None if self.build is None else self.build.getSourceStamp(codebase)

    def useSecret(self, value: object, name: str) -> None:
        """Hide a value from now on in everything that the build stores; see `buildbot.util.redaction`."""
        self.redactor.add(value, name)

    def cleanupTextFromSecrets(self, text: str) -> str:
        """``text`` with the names of secrets in place of their values, ``<name>``."""
        return self.redactor.clean(text)

    def getBuild(self) -> RenderingBuild | None:
        """The build with these properties, or None."""
        return self.build

    @deferred
    async def render(self, value: object) -> Any:
        """``value`` with every renderable in it replaced; new lists, tuples and dictionaries, the old ones stay."""
        return await rendered(value, self)


class Property(Renderable):
    """The value of a property.

    Args:
        key: the property's name.
        default: used when there is no such property; may be a renderable.
        defaultWhenFalse: use the default for an empty or false value too.
    """

    def __init__(self, key: str, default: object = None, defaultWhenFalse: bool = True) -> None:
        self.key = key
        self.default = default
        self.default_when_false = defaultWhenFalse

    def __repr__(self) -> str:
        return f"Property({self.key})"

    def getRenderingFor(self, props: Properties) -> Any:
        """The property's value or the default."""
        value: object = props.getProperty(self.key)
        missing = not value if self.default_when_false else not props.hasProperty(self.key)
        return self.default if missing and self.default is not None else value


class Secret(Renderable):
    """A secret of ``c['secretsProviders']``, read when it is rendered; ``<name>`` in everything that is stored.

    Args:
        secret_name: its name.
    """

    def __init__(self, secret_name: str) -> None:
        if not isinstance(secret_name, str) or not secret_name:
            error(f"Secret: the name must be a text that is not empty, not {secret_name!r}")
        self.secret_name = secret_name

    def __repr__(self) -> str:
        return f"Secret({self.secret_name})"

    async def getRenderingFor(self, props: Properties) -> Any:
        """The value. Raises KeyError if no provider has it."""
        return await secret(props, self.secret_name)


class Transform(Renderable):
    """A function's result for rendered arguments: ``Transform(str.upper, Property("branch"))``.

    Args:
        function: called with the arguments; may itself be rendered, and may return a Deferred or coroutine.
    """

    def __init__(self, function: object, *args: object, **kwargs: object) -> None:
        if not callable(function) and not is_renderable(function):
            error(f"Transform needs a function or a renderable that gives one, not {function!r}")
        self.function, self.args, self.kwargs = function, args, kwargs

    def __repr__(self) -> str:
        arguments = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"Transform({', '.join([_shown(self.function), *arguments])})"

    async def getRenderingFor(self, props: Properties) -> Any:
        """Call the function."""
        function = await rendered(self.function, props)
        return await resolved(function(*await rendered(self.args, props), **await rendered(self.kwargs, props)))


class renderer(Renderable):
    """Decorator: a function of the properties as a renderable. `withArgs` binds further arguments, rendered first."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs or {}

    def __repr__(self) -> str:
        return f"renderer({_shown(self.function)})"

    def withArgs(self, *args: object, **kwargs: object) -> renderer:
        """The same function with further arguments after the properties."""
        return renderer(self.function, self.args + args, {**self.kwargs, **kwargs})

    async def getRenderingFor(self, props: Properties) -> Any:
        """Call the function with the properties and the bound arguments."""
        args, kwargs = await rendered(self.args, props), await rendered(self.kwargs, props)
        return await resolved(self.function(props, *args, **kwargs))


def _shown(function: object) -> str:
    """A function's name for messages, without its address."""
    return getattr(function, "__name__", None) or repr(function)


#: attributes of a source stamp for ``%(src:…)s``
SOURCE_ATTRIBUTES = ("branch", "revision", "repository", "project", "codebase")
_NAME = re.compile(r"[\w. -]*\Z")
#: the colon after the name of a secret, before an operator
_SECRET_END = re.compile(r":(?=[-~+?]|#\?)")


@dataclass(frozen=True)
class _Substitution:
    """One ``%(selector:name…)`` of an `Interpolate`, parsed."""

    selector: str
    name: str
    attribute: str = ""  # of a source stamp
    operator: str = ""
    then: object = ""
    otherwise: object = ""

    def look_up(self, props: Properties, keywords: Mapping[str, object]) -> tuple[bool, object]:
        """Whether there is such a value, and the value."""
        if self.selector == "prop":
            return props.hasProperty(self.name), props.getProperty(self.name)
        if self.selector == "kw":
            return self.name in keywords, keywords.get(self.name)
        # users' functions may render with any object that has getProperty
        build: RenderingBuild | None = getattr(props, "build", None)
        if build is None:
            return False, None
        if self.selector == "worker":
            info = build.getWorkerInfo()
            return self.name in info, info.get(self.name)
        stamp = build.getSourceStamp(self.name)
        return stamp is not None, stamp[self.attribute] if stamp is not None else None

    async def render(self, props: Properties, keywords: Mapping[str, object]) -> object:
        value: object
        chosen: object
        if self.selector == "secret":  # a missing secret has no default
            present, value = True, await secret(props, self.name)
        else:
            present, value = self.look_up(props, keywords)
        value = await rendered(value, props)
        if self.operator == "":
            chosen = value
        elif self.operator == "-":
            chosen = value if present else self.otherwise
        elif self.operator == "~":
            chosen = value or self.otherwise
        else:  # '+' and '?' test whether the value exists, '#?' whether it is true
            chosen = self.then if (value if self.operator == "#?" else present) else self.otherwise
        chosen = await rendered(chosen, props)
        return "" if chosen is None else chosen


class Interpolate(Renderable):
    """A format text that is filled in when it is rendered.

    ``%(prop:NAME)s``, ``%(src:CODEBASE:ATTRIBUTE)s``, ``%(worker:NAME)s``, ``%(secret:NAME)s`` and ``%(kw:NAME)s``;
    after the name may follow ``:-text`` (text if missing), ``:~text`` (if missing or false), ``:+text`` (text if it
    exists, else nothing), ``:?|yes|no`` (yes if it exists) or ``:#?|yes|no`` (yes if true), with any character in place
    of ``|``. Such a text may hold further substitutions. A missing value, None, and a keyword argument that is not
    given become empty; a missing secret is an error.

    Args:
        fmtstring: the text; with positional arguments it holds plain ``%s`` instead.
        args: values for ``%s``, rendered.
        kwargs: values for ``%(kw:NAME)s``, rendered.
    """

    def __init__(self, fmtstring: str, *args: object, **kwargs: object) -> None:
        self.fmtstring, self.args, self.kwargs = fmtstring, args, kwargs
        self._substitutions: dict[str, _Substitution] = {}
        given: object = fmtstring  # a configuration may give any type
        if not isinstance(given, str):
            error(f"Interpolate: the format must be a text, not {fmtstring!r} ({type(fmtstring).__name__})")
            return
        if args and kwargs:
            error(f"Interpolate({fmtstring!r}) takes either positional or keyword arguments, not both")
        try:
            for key, shown in [] if args else substitutions(fmtstring):
                if key is None:
                    raise ValueError(f"nothing is given for {shown!r}; a percent sign is written %%")
                self._substitutions[key] = self._parse(key)
            fmtstring % (tuple(0 for _ in args) if args else dict.fromkeys(self._substitutions, 0))
        except (TypeError, ValueError, KeyError) as problem:
            error(f"Interpolate({fmtstring!r}): {problem.args[0]}")

    def __repr__(self) -> str:
        return f"Interpolate({self.fmtstring!r})"

    def _parse(self, key: str) -> _Substitution:
        selector, colon, rest = key.partition(":")
        if not colon:
            raise ValueError(f"%({key}) needs a selector, as in %(prop:{key})s")
        if selector not in ("prop", "src", "kw", "worker", "secret"):
            raise ValueError(f"unknown selector {selector!r} in %({key}); there are prop, src, kw, worker and secret")
        attribute = ""
        name, _, tail = rest.partition(":")
        if selector == "src":
            attribute, _, tail = tail.partition(":")
            if attribute not in SOURCE_ATTRIBUTES:
                raise ValueError(f"%({key}) needs a codebase and one of {', '.join(SOURCE_ATTRIBUTES)}")
        if selector == "secret":  # a name may have a colon, a slash and other characters
            name, _, tail = _SECRET_END.sub("\0", rest, count=1).partition("\0")
            if not name:
                raise ValueError(f"%({key}) needs a name")
        elif not _NAME.match(name):
            raise ValueError(f"bad name {name!r} in %({key})")
        operator = re.match(r"#\?|[-~+?]|\Z", tail)
        if operator is None:
            raise ValueError(f"unknown form {':' + tail!r} in %({key})")
        text = tail[operator.end() :]
        then: object = ""
        otherwise: object = ""
        match operator.group():
            case "-" | "~":
                otherwise = self._inner(text)
            case "+":
                then = self._inner(text)
            case "?" | "#?":
                parts = text[1:].split(text[:1]) if text else []
                if len(parts) < 2:
                    raise ValueError(f"%({key}) needs two values behind {operator.group()!r}, as in :?|yes|no")
                then, otherwise = self._inner(parts[0]), self._inner(parts[1])
        return _Substitution(selector, name, attribute, operator.group(), then, otherwise)

    def _inner(self, text: str) -> object:
        return Interpolate(text, **self.kwargs) if "%" in text else text

    async def getRenderingFor(self, props: Properties) -> str:
        """The filled-in text."""
        if self.args:
            return self.fmtstring % tuple([await rendered(value, props) for value in self.args])
        keywords = {key: await item.render(props, self.kwargs) for key, item in self._substitutions.items()}
        return self.fmtstring % keywords
