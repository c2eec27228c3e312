"""Parameters of a force scheduler's form: what the page shows of them, and what becomes of the values
submitted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

from buildbot.config import checks as configured
from buildbot.config.arguments import REQUIRED, Declared, argument, arguments_of
from buildbot.process.configured import Configured
from buildbot.util import checks
from buildbot.util.deferreds import resolved

#: of the properties that forms set
SOURCE = "Force Build Form"
#: values submitted, by full name; each a list
Submitted = Mapping[str, Sequence[Any]]


#: more digits than any useful number has
_LONGEST_NUMBER = 1000


class ValidationError(ValueError):
    """A value that was submitted is not valid; the message says why, to the person who submitted it."""


def _pattern(value: Any) -> re.Pattern[str]:
    try:
        found: re.Pattern[str] = re.compile(value)
    except (re.error, TypeError) as problem:
        raise ValueError(f"{value!r} is no pattern: {problem}") from None
    return found


class BaseParameter(Declared, Configured):
    """One field of the form.

    A subclass may have further arguments: what a configuration gives it by a name that is not declared is an attribute.
    It may override `parse_from_arg` (one value), `parse_from_args` (all of them), `getFromKwargs` (whatever was
    submitted) and `updateFromKwargs` (the properties themselves), each of which may raise `ValidationError`; and
    `getSpec`, what the page is told.

    Attributes:
        fullName: the name with those of the groups around it before; None of a group without a name.
    """

    type = ""
    #: keys of the description that only this type has
    extra: tuple[str, ...] = ()

    positional: ClassVar[tuple[str, ...]] = ("name", "label", "tablabel", "regex")
    name = argument(REQUIRED, configured.text, doc="of the property that it sets")
    label: Any = argument(None, configured.optional(configured.text), doc="text at the field; None: the name")
    tablabel = argument(None, configured.optional(configured.text), doc="title of a tab that shows it; None: the label")
    regex = argument(
        None, configured.optional(_pattern), doc="a pattern that the submitted text must match from the beginning"
    )
    default = argument("", doc="the value when nothing is submitted")
    required = argument(False, configured.flag, doc="there must be a value")
    multiple = argument(False, configured.flag, doc="it is a list of values")
    hide = argument(False, configured.flag, doc="do not show it; its default is submitted")
    maxsize = argument(None, configured.optional(configured.whole_number()), doc="longest text, in characters")
    autopopulate = argument(
        None,
        configured.optional(configured.dictionary),
        doc="`{value: {other field: value}}` that the page fills in when a value is chosen",
    )
    tooltip = argument("", configured.text, doc="help text")
    debug = argument(True, doc="taken and of no effect: what is wrong is always logged")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not type(self).__module__.startswith("buildbot."):
            known = arguments_of(type(self))
            for name in [name for name in kwargs if name not in known]:
                setattr(self, name, kwargs.pop(name))
        super().__init__(*args, **kwargs)
        self.name = self.name or ""
        self.fullName: str | None = self.name or None
        self.label = self.name if self.label is None else self.label
        self.tablabel = self.label if self.tablabel is None else self.tablabel

    def describe(self) -> dict[str, Any]:
        """The field as the HTTP interface shows it."""
        return self.getSpec()

    def getSpec(self) -> dict[str, Any]:
        """What pages are told of it; overrides add to it."""
        keys = ("name", "fullName", "label", "tablabel", "type", "default", "required", "multiple", "hide", "maxsize",
                "autopopulate", "tooltip", *self.extra)  # fmt: skip
        return {key: getattr(self, key) for key in keys} | {"regex": self.regex.pattern if self.regex else None}

    def full_names(self) -> list[str]:
        """The full names of the fields that are submitted for it."""
        return [self.fullName or ""]

    def inside(self, prefix: str) -> Self:
        """The same parameter with the full name that it has inside a group; one parameter may stand in several."""
        inner = copy(self)
        inner.fullName = (f"{prefix}_{self.name}" if prefix else self.name) or None
        return inner

    def collect(self, submitted: Submitted, messages: dict[str, str]) -> Any:
        """The value for what was submitted; what is wrong with it goes into ``messages`` by full name."""
        try:
            given = submitted.get(self.fullName or "", ())
            if self.multiple and self.fullName in submitted and not given:
                # The user has removed all choices; the default counts only if the field is missing.
                return [] if not self.required else self.__checked("")
            return _storable(self.getFromKwargs(submitted), self.label.rstrip(" :") or self.name)
        except ValidationError as problem:
            messages[self.fullName or ""] = str(problem)
            return None

    def getFromKwargs(self, kwargs: Submitted) -> Any:
        """The value for what was submitted, by full name; raises `ValidationError`."""
        return self.value(list(kwargs.get(self.fullName or "", ())))

    async def updateFromKwargs(self, properties: dict[str, Any], kwargs: Submitted, **unused: Any) -> None:
        """Set properties for what was submitted; raises `ValidationError`.

        Overrides are given ``master``, ``properties`` (by name, to be changed), ``changes``, ``sourcestamps`` (by
        codebase), ``collector`` and ``kwargs`` by name, and may be given more.
        """
        properties[self.name] = self.getFromKwargs(kwargs)

    def value(self, given: list[Any]) -> Any:
        """The value for the list of values submitted, empty if there are none.

        Raises:
            ValidationError: it is not valid.
        """
        if not given:
            if self.required and self.default in ("", None):
                raise ValidationError(f"'{self.label}' needs to be specified")
            return self.default
        if self.multiple:
            filled = [each for each in given if not self.is_empty(each)]
            return self.parse_from_args([self.__checked(each) for each in filled]) if filled else self.value([])
        if self.is_empty(given[0]):
            if self.required:
                raise ValidationError(f"'{self.label}' needs to be specified")
            return self.default
        return self.parse_from_args([self.__checked(given[0])])

    def parse_from_args(self, args: list[Any]) -> Any:
        """The value for all that was submitted; a list of values if it is ``multiple``."""
        return [self.parse_from_arg(each) for each in args] if self.multiple else self.parse_from_arg(args[0])

    def is_empty(self, given: Any) -> bool:
        """Whether a submitted value says nothing, so that the default counts."""
        return given is None

    def parse_from_arg(self, given: Any) -> Any:
        """One submitted value, as it is passed on; raises ValidationError."""
        return given

    def __checked(self, given: Any) -> Any:
        if self.required and given in ("", None):
            raise ValidationError(f"'{self.label}' needs to be specified")
        if self.maxsize is not None and isinstance(given, str) and len(given) > self.maxsize:
            raise ValidationError(f"{self.label}: longer than {self.maxsize} characters")
        if self.regex is not None and not self.regex.match(str(given)):
            raise ValidationError(f"{self.label}: does not match the pattern '{self.regex.pattern}'")
        return given


class FixedParameter(BaseParameter):
    """A value that cannot be changed; what is submitted is ignored."""

    type = "fixed"
    hide = True

    def value(self, given: list[Any]) -> Any:
        """The default."""
        return self.default


class StringParameter(BaseParameter):
    """A line of text."""

    type = "text"
    extra: tuple[str, ...] = ("size",)
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "size")
    size = argument(10, configured.whole_number(1), doc="width of the field, in characters")

    def parse_from_arg(self, given: Any) -> Any:
        """Text; numbers and the like become text."""
        return as_text(given, self.label.rstrip(" :"))


class TextParameter(StringParameter):
    """Several lines of text."""

    type = "textarea"
    extra = ("size", "cols", "rows")
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "cols", "rows")
    cols = argument(80, configured.whole_number(1), doc="width of the field, in characters")
    rows = argument(20, configured.whole_number(1), doc="its height, in lines")


class IntParameter(StringParameter):
    """A whole number. A field that is left empty has its default, or, if it is required, must be filled in."""

    type = "int"
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "default")
    default = 0

    def is_empty(self, given: Any) -> bool:
        """Nothing, or a text without anything to see."""
        return given is None or (isinstance(given, str) and not given.strip())

    def parse_from_arg(self, given: Any) -> int:
        """A number, or a text that is one."""
        if isinstance(given, float) and given.is_integer():
            return int(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return given
        text = shown(given)
        if not isinstance(given, str) or not re.fullmatch(r"\s*[+-]?[0-9]+\s*", given):
            raise ValidationError(f"{self.label}: {text} is not a whole number")
        if len(given) > _LONGEST_NUMBER:
            raise ValidationError(f"{self.label}: {text} has more than {_LONGEST_NUMBER} digits")
        return int(given)


class BooleanParameter(BaseParameter):
    """A check box; true for JSON's ``true`` and 1 only. The page says ``false`` of one that is not checked."""

    type = "bool"
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "default")
    default = False

    def value(self, given: list[Any]) -> bool:
        """True or false; the default of a box of which nothing was submitted."""
        if not given or given[0] is None:
            return bool(self.default)
        return given[0] is True or (type(given[0]) is int and given[0] == 1)


def _has_address(text: str) -> bool:
    """Whether a text is ``Name <mail>``; it may be of any length, so no pattern that tries again and again will do."""
    name, _, mail = text.rstrip().rpartition("<")
    inner, end, rest = mail.partition(">")
    return bool(name.strip()) and end == ">" and not rest and not re.search(r"\s", inner) and "@" in inner[1:-1]


class UserNameParameter(StringParameter):
    """Who asks for the build."""

    type = "username"
    extra = ("size", "need_email")
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "size", "need_email")
    name = "username"
    label = "Your name:"
    size = 30
    need_email = argument(True, configured.flag, doc="it must look like `Name <mail>`")

    def parse_from_arg(self, given: Any) -> str:
        """The name, or nothing."""
        text = str(super().parse_from_arg(given))
        if text and self.need_email and not _has_address(text):
            raise ValidationError(f"{self.name}: please fill in email address in the form 'User <email@email.com>'")
        return text


class ChoiceStringParameter(BaseParameter):
    """A choice. A subclass may override `getChoices`, which is asked when the form is made and when it is submitted."""

    type = "list"
    extra = ("choices", "strict")
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "choices", "strict")
    choices = argument((), configured.sequence, doc="the texts to choose from")
    strict = argument(True, configured.flag, doc="nothing else may be submitted")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choices = list(self.choices)

    def getChoices(self, master: Any, scheduler: Any, buildername: str | None) -> Any:
        """The texts to choose from; a list, a Deferred or a coroutine.

        Args:
            master: the master.
            scheduler: the force scheduler.
            buildername: whose build is forced; None while the form is made.
        """
        return self.choices

    async def refresh(self, master: Any, scheduler: Any, buildername: str | None) -> None:
        """Ask `getChoices`."""
        self.choices = list(await resolved(self.getChoices(master, scheduler, buildername)))

    def is_empty(self, given: Any) -> bool:
        """Nothing, unless that is one of the choices."""
        return given is None or (given == "" and given not in self.choices)

    def parse_from_arg(self, given: Any) -> Any:
        """One of the choices."""
        if not self.strict and given not in self.choices:
            return as_text(given, self.label.rstrip(" :"))
        if self.strict and given not in self.choices:
            raise ValidationError(f"{shown(given)} does not belong to list of available choices '{self.choices}'")
        return given


class FileParameter(BaseParameter):
    """The content of a file, as text of up to ten megabytes."""

    type = "file"
    positional: ClassVar[tuple[str, ...]] = ("name", "label", "maxsize")
    maxsize = 10485760

    def parse_from_arg(self, given: Any) -> str:
        """The text."""
        return as_text(given, self.label.rstrip(" :"))


class WorkerChoiceParameter(ChoiceStringParameter):
    """The worker to build on; ``canStartBuild=util.enforceChosenWorker`` of the builder makes it count."""

    name = "workername"
    label = "Worker"
    strict = False

    async def getChoices(self, master: Any, scheduler: Any, buildername: str | None) -> list[str]:
        """The workers that are configured for the builder, or, while none is chosen, for any of the scheduler's; first
        of all none.
        """
        names = scheduler.builderNames if buildername is None else [buildername]
        builders = await master.data.get({}, ("builders",))
        ids = {each["builderid"] for each in builders if each["name"] in names}
        workers = await master.data.get({"order": ["name"]}, ("workers",))
        return ["", *(each["name"] for each in workers if ids & {its["builderid"] for its in each["configured_on"]})]


class InheritBuildParameter(ChoiceStringParameter):
    """An earlier build, as ``builder/number``, whose form's properties are taken over."""

    name = "inherit"
    compatible_builds = argument(
        None,
        configured.optional(configured.function),
        doc="f(master, builder's name or None) gives the builds to choose from, a list of `builder/number`",
    )

    async def getChoices(self, master: Any, scheduler: Any, buildername: str | None) -> Any:
        """What ``compatible_builds`` gives."""
        choose: Callable[..., Any] | None = self.compatible_builds
        return [] if choose is None else await resolved(choose(master, buildername))

    async def updateFromKwargs(
        self, properties: dict[str, Any], kwargs: Submitted, master: Any = None, **unused: Any
    ) -> None:
        """Set what was submitted for that build; what the form itself says wins."""
        chosen = self.getFromKwargs(kwargs)
        if not chosen:
            return
        builder, _, number = str(chosen).rpartition("/")
        path = ("builders", builder, "builds", number)
        build = await master.data.get({"properties": ["*"]}, path) if builder and number.isdigit() else None
        if build is None:
            raise ValidationError(f"{self.label}: there is no build {chosen!r}")
        for name, (value, source) in build["properties"].items():
            if source == SOURCE and name not in ("owner", "reason"):
                properties.setdefault(name, value)


def as_text(given: Any, label: str) -> str:
    """A text, or a number as one."""
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        return str(given)
    raise ValidationError(f"{label}: not a text")


def shown(given: Any) -> str:
    """A value that is refused, as a message shows it: without Python's own words, and not too long."""
    text = (
        f"'{given}'"
        if isinstance(given, str | int | float) and not isinstance(given, bool)
        else json.dumps(given, ensure_ascii=False, default=repr)
    )
    return text if len(text) <= 60 else f"{text[:60]}…"


def is_storable(value: Any) -> bool:
    """Whether it is a text that every database can store."""
    try:
        checks.text(value, "")
    except (TypeError, ValueError):
        return False
    return True


def _storable(value: Any, label: str) -> Any:
    """The value, if every text in it can be stored."""
    if isinstance(value, str):
        try:
            return checks.text(value, label)
        except ValueError as problem:
            raise ValidationError(str(problem)) from None
    if isinstance(value, Mapping):
        for key, each in value.items():
            _storable(key, label)
            _storable(each, label)
    elif isinstance(value, list | tuple):
        for each in value:
            _storable(each, label)
    return value
