"""Parameters of a force scheduler's form: what the page shows of them, and what becomes of the values
submitted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self

from buildbot.config.errors import error
from buildbot.process.configured import Configured, checked_name
from buildbot.util import checks
from buildbot.util.checks import MAX_SMALL

#: values submitted, by full name; each a list
Submitted = Mapping[str, Sequence[Any]]


#: more digits than any number that somebody means
_LONGEST_NUMBER = 1000


class ValidationError(ValueError):
    """A value that was submitted is not valid; the message says why, to the person who submitted it."""


class BaseParameter(Configured):
    """One field of the form.

    Args:
        name: of the property that it sets; with the names of the groups around it before, its full name.
        label: text at the field, default: the name.
        tablabel: title of a tab that shows it, default: the label.
        regex: pattern that the submitted text must match from the beginning.
        default: value when nothing is submitted.
        required: whether there must be a value.
        multiple: whether it is a list of values.
        hide: do not show it; its default is submitted.
        maxsize: longest text, in characters.
        autopopulate: ``{value: {other field: value}}`` that the page fills in when a value is chosen.
        tooltip: help text.
    """

    type = ""
    #: keys of the description that only this type has
    extra: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        label: str | None = None,
        tablabel: str | None = None,
        regex: str | re.Pattern[str] | None = None,
        default: Any = "",
        required: bool = False,
        multiple: bool = False,
        hide: bool = False,
        maxsize: int | None = None,
        autopopulate: Mapping[str, Any] | None = None,
        tooltip: str = "",
    ) -> None:
        self.name = name = checked_name(name, type(self).__name__) if name != "" else ""
        self.fullName: str | None = name or None
        self.label = name if label is None else label
        self.tablabel = self.label if tablabel is None else tablabel
        self.regex: re.Pattern[str] | None = None
        if regex is not None:
            try:
                self.regex = re.compile(regex)
            except re.error as problem:
                error(f"{type(self).__name__} {name!r}: regex {regex!r} is no pattern: {problem}")
        self.default = default
        self.required = required
        self.multiple = multiple
        self.hide = hide
        self.maxsize = maxsize
        self.autopopulate = autopopulate
        self.tooltip = tooltip

    def describe(self) -> dict[str, Any]:
        """The field as the HTTP interface shows it."""
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
                # Somebody has taken all choices away; without any word of it the default counts.
                return [] if not self.required else self.__checked("")
            return _storable(self.value(list(given)), self.label.rstrip(" :") or self.name)
        except ValidationError as problem:
            messages[self.fullName or ""] = str(problem)
            return None

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
            return [self.parse(self.__checked(each)) for each in given]
        if self.is_empty(given[0]):
            if self.required:
                raise ValidationError(f"'{self.label}' needs to be specified")
            return self.default
        return self.parse(self.__checked(given[0]))

    def is_empty(self, given: Any) -> bool:
        """Whether a submitted value says nothing, so that the default counts."""
        return given is None

    def parse(self, given: Any) -> Any:
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

    def __init__(self, name: str, default: Any = "", hide: bool = True, **further: Any) -> None:
        super().__init__(name, default=default, hide=hide, **further)

    def value(self, given: list[Any]) -> Any:
        """The default."""
        return self.default


class StringParameter(BaseParameter):
    """A line of text. ``size``: width of the field."""

    type = "text"
    extra: tuple[str, ...] = ("size",)

    def __init__(self, name: str, label: str | None = None, size: int = 10, **further: Any) -> None:
        super().__init__(name, label, **further)
        self.size = size

    def parse(self, given: Any) -> Any:
        """Text; numbers and the like become text."""
        return _text(given, self.label.rstrip(" :"))


class TextParameter(StringParameter):
    """Several lines of text, in ``cols`` columns and ``rows`` rows."""

    type = "textarea"
    extra = ("size", "cols", "rows")

    def __init__(self, name: str, label: str | None = None, cols: int = 80, rows: int = 20, **further: Any) -> None:
        super().__init__(name, label, **further)
        self.cols = cols
        self.rows = rows


class IntParameter(StringParameter):
    """A whole number. A field that is left empty has its default, or, if it is required, must be filled in."""

    type = "int"

    def __init__(self, name: str, label: str | None = None, default: int = 0, **further: Any) -> None:
        super().__init__(name, label, default=default, **further)

    def is_empty(self, given: Any) -> bool:
        """Nothing, or a text without anything to see."""
        return given is None or (isinstance(given, str) and not given.strip())

    def parse(self, given: Any) -> int:
        """A number, or a text that is one."""
        if isinstance(given, float) and given.is_integer():
            return int(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return given
        text = _shown(given)
        if not isinstance(given, str) or not re.fullmatch(r"\s*[+-]?[0-9]+\s*", given):
            raise ValidationError(f"{self.label}: {text} is not a whole number")
        if len(given) > _LONGEST_NUMBER:
            raise ValidationError(f"{self.label}: {text} has more than {_LONGEST_NUMBER} digits")
        return int(given)


class BooleanParameter(BaseParameter):
    """A check box; true for JSON's ``true`` only."""

    type = "bool"

    def __init__(self, name: str, label: str | None = None, default: bool = False, **further: Any) -> None:
        super().__init__(name, label, default=default, **further)

    def value(self, given: list[Any]) -> bool:
        """True or false; a box that was not submitted is not checked."""
        return bool(given) and given[0] is True


class UserNameParameter(StringParameter):
    """Who asks for the build. ``need_email``: as ``Name <mail>``."""

    type = "username"
    extra = ("size", "need_email")

    def __init__(
        self,
        name: str = "username",
        label: str | None = "Your name:",
        size: int = 30,
        need_email: bool = True,
        **further: Any,
    ) -> None:
        super().__init__(name, label, size, **further)
        self.need_email = need_email

    def parse(self, given: Any) -> str:
        """The name, or nothing."""
        text = str(super().parse(given))
        if text and self.need_email and not re.search(r"\S.*<[^<>\s]+@[^<>\s]+>\s*\Z", text):
            raise ValidationError(f"{self.name}: please fill in email address in the form 'User <email@email.com>'")
        return text


class ChoiceStringParameter(BaseParameter):
    """A choice. ``choices``: the texts to choose from; ``strict``: nothing else may be submitted."""

    type = "list"
    extra = ("choices", "strict")

    def __init__(
        self, name: str, label: str | None = None, choices: Sequence[str] = (), strict: bool = True, **further: Any
    ) -> None:
        super().__init__(name, label, **further)
        if isinstance(choices, str) or not isinstance(choices, Sequence):
            error(f"{type(self).__name__} {name!r}: choices must be a list, not {choices!r}")
            choices = ()
        self.choices = list(choices)
        self.strict = strict

    def is_empty(self, given: Any) -> bool:
        """Nothing, unless that is one of the choices."""
        return given is None or (given == "" and given not in self.choices)

    def parse(self, given: Any) -> Any:
        """One of the choices."""
        if not self.strict and given not in self.choices:
            return _text(given, self.label.rstrip(" :"))
        if self.strict and given not in self.choices:
            raise ValidationError(f"'{given}' does not belong to list of available choices '{self.choices}'")
        return given


class FileParameter(BaseParameter):
    """The content of a file, as text of up to ten megabytes."""

    type = "file"

    def __init__(self, name: str, label: str | None = None, maxsize: int = 10485760, **further: Any) -> None:
        super().__init__(name, label, maxsize=maxsize, **further)

    def parse(self, given: Any) -> str:
        """The text."""
        return _text(given, self.label.rstrip(" :"))


class NestedParameter(BaseParameter):
    """A group of fields, whose values become one object; of a group without a name each value stands for
    itself.

    Args:
        name: of the group, may be empty.
        fields: the parameters in it.
        layout: how the page arranges them: ``vertical``, ``simple`` or ``tabs``.
        columns: in how many columns, default: two if there are more than three fields.
    """

    type = "nested"
    extra = ("layout", "columns")

    def __init__(
        self,
        name: str,
        label: str | None = None,
        fields: Sequence[BaseParameter] = (),
        layout: str = "vertical",
        columns: int | None = None,
        **further: Any,
    ) -> None:
        super().__init__(name, label, **further)
        if layout not in ("vertical", "simple", "tabs"):
            error(f"{type(self).__name__} {name!r}: layout must be vertical, simple or tabs, not {layout!r}")
        self.layout = layout
        self.fields = [each for each in fields if isinstance(each, BaseParameter)]
        if len(self.fields) != len(fields):
            error(f"{type(self).__name__} {name!r}: fields must be parameters")
        self.columns = columns or (2 if len(self.fields) > 3 else 1)
        self.fields = [each.inside(self.name) for each in self.fields]

    def describe(self) -> dict[str, Any]:
        """The group with its fields."""
        return super().describe() | {"fields": [each.describe() for each in self.fields]}

    def full_names(self) -> list[str]:
        """Those of the fields in it."""
        return [name for each in self.fields for name in each.full_names()]

    def inside(self, prefix: str) -> Self:
        """The same group with the full name that it has inside a group, and its fields likewise."""
        inner = super().inside(prefix)
        inner.fields = [each.inside(inner.fullName or "") for each in self.fields]
        return inner

    def collect(self, submitted: Submitted, messages: dict[str, str]) -> dict[str, Any]:
        """The values of the fields by name; those of a group without a name are its own."""
        values: dict[str, Any] = {}
        for each in self.fields:
            found = each.collect(submitted, messages)
            values |= found if not each.name and isinstance(each, NestedParameter) else {each.name: found}
        return values

    def full_name(self, field: str) -> str:
        """The full name of a field in it."""
        return f"{self.fullName}_{field}" if self.fullName else field


class AnyPropertyParameter(NestedParameter):
    """A property of any name: the person gives name and value. Nothing is set if the name is left empty."""

    def __init__(self, name: str, label: str | None = None, **further: Any) -> None:
        fields = [StringParameter("name", "Name:"), StringParameter("value", "Value:")]
        super().__init__(name, label, fields=fields, **further)

    def collect(self, submitted: Submitted, messages: dict[str, str]) -> dict[str, Any]:
        """The one property, ``{name: value}``, or nothing."""
        given = super().collect(submitted, messages)
        key = given["name"]
        if not key:
            if given["value"]:
                messages[f"{self.fullName}_name"] = "a value needs the name of a property"
            return {}
        if not re.fullmatch(r"[A-Za-z0-9._-]+", key):
            messages[f"{self.fullName}_name"] = f"bad property name='{key}'"
            return {}
        return {key: given["value"]}


class PatchParameter(NestedParameter):
    """A patch over the code to build."""

    def __init__(self, name: str = "patch", label: str | None = None, **further: Any) -> None:
        fields = [
            FileParameter("body"),
            IntParameter("level", default=1),
            StringParameter("author"),
            StringParameter("comment"),
            StringParameter("subdir", default="."),
        ]
        super().__init__(name, label, fields=fields, columns=1, **further)


class CodebaseParameter(NestedParameter):
    """What to build of one codebase: branch, revision, repository, project. Each is a parameter, or a fixed
    text.

    Args:
        codebase: its name; empty for the one without.
        name, label, **further: of the group.
        branch, revision, repository, project: parameters; a text or None fixes the value.
        patch: a `PatchParameter`, to let people build a patch.
    """

    def __init__(
        self,
        codebase: str,
        name: str | None = None,
        label: str | None = None,
        branch: BaseParameter | str | None = StringParameter("branch", "Branch:"),  # noqa: B008 - never changed
        revision: BaseParameter | str | None = StringParameter("revision", "Revision:"),  # noqa: B008
        repository: BaseParameter | str | None = StringParameter("repository", "Repository:"),  # noqa: B008
        project: BaseParameter | str | None = StringParameter("project", "Project:"),  # noqa: B008
        patch: PatchParameter | None = None,
        **further: Any,
    ) -> None:
        self.codebase = codebase
        given = {"branch": branch, "project": project, "repository": repository, "revision": revision}
        fields: list[BaseParameter] = [
            value if isinstance(value, BaseParameter) else FixedParameter(key, default=value or "")
            for key, value in given.items()
        ]
        if patch is not None:
            fields.append(patch)
        super().__init__(codebase if name is None else name, label, fields=fields, **further)

    def sourcestamp(self, submitted: Submitted, messages: dict[str, str]) -> dict[str, Any]:
        """The source stamp for what was submitted; what is left empty is ``""``, as existing configurations expect."""
        values = self.collect(submitted, messages)
        stamp: dict[str, Any] = {"codebase": self.codebase}
        for key in ("branch", "revision", "repository", "project"):
            try:
                stamp[key] = "" if values[key] is None else _text(values[key], key)
            except ValidationError as problem:  # a parameter of the user's own kind may give anything
                messages[self.full_name(key)] = str(problem)
        patch = values.get("patch")
        if patch and patch["body"]:
            level = patch["level"]
            if level is not None and not 0 <= level <= MAX_SMALL:
                messages[self.full_name("patch_level")] = f"{_shown(level)} is not between 0 and {MAX_SMALL}"
            stamp |= {f"patch_{key}": value for key, value in patch.items()}
        return stamp


def _text(given: Any, label: str) -> str:
    """A text, or a number as one."""
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        return str(given)
    raise ValidationError(f"{label}: not a text")


def _shown(given: Any) -> str:
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
