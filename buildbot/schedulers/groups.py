"""Groups of fields in a force scheduler's form: of any kind, of a patch, and of a codebase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from buildbot.config import checks as configured
from buildbot.config.arguments import REQUIRED, argument
from buildbot.schedulers.parameters import (
    BaseParameter,
    ChoiceStringParameter,
    FileParameter,
    FixedParameter,
    IntParameter,
    StringParameter,
    Submitted,
    ValidationError,
    as_text,
    shown,
)
from buildbot.util.checks import MAX_COMMENTS, MAX_NAME, MAX_SMALL, MAX_TEXT


def _parameter(value: Any) -> BaseParameter:
    if not isinstance(value, BaseParameter):
        raise ValueError(f"must be a parameter (util.StringParameter(...), …), not {configured.kind(value)}")
    return value


class NestedParameter(BaseParameter):
    """A group of fields, whose values become one object; of a group without a name each value stands for
    itself.
    """

    type = "nested"
    extra = ("layout", "columns")
    positional: ClassVar[tuple[str, ...]] = ("name", "fields", "label", "layout", "columns")
    fields: Sequence[BaseParameter] = argument((), configured.list_of(_parameter), doc="the parameters in it")
    layout = argument(
        "vertical",
        configured.one_of("vertical", "simple", "tabs"),
        doc="how they are arranged: `vertical`, `simple` or `tabs`",
    )
    columns = argument(
        None,
        configured.optional(configured.whole_number(1)),
        doc="in how many columns; None: two if there are more than three fields",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.columns = self.columns or (2 if len(self.fields) > 3 else 1)
        self.fields = [each.inside(self.name) for each in self.fields]

    def choices_in(self) -> list[ChoiceStringParameter]:
        """The choices in it, and in the groups in it."""
        found = [each for each in self.fields if isinstance(each, ChoiceStringParameter)]
        nested = [each for each in self.fields if isinstance(each, NestedParameter)]
        return found + [choice for each in nested for choice in each.choices_in()]

    def getSpec(self) -> dict[str, Any]:
        """The group with its fields."""
        return super().getSpec() | {"fields": [each.describe() for each in self.fields]}

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

    fields = (StringParameter("name", "Name:"), StringParameter("value", "Value:"))

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


#: the fields of a source stamp, and how many characters each may have
_LONGEST = {
    **dict.fromkeys(("branch", "revision", "repository", "project", "patch_author", "patch_subdir"), MAX_NAME),
    "patch_comment": MAX_COMMENTS,
    "patch_body": MAX_TEXT,
}
_PATCH = ("body", "level", "author", "comment", "subdir")


def _field(value: Any) -> Any:
    if value is None or isinstance(value, str | BaseParameter):
        return value
    raise ValueError(f"must be a parameter, a text or None, not {configured.kind(value)}")


class PatchParameter(NestedParameter):
    """A patch over the code to build. Each field may be replaced by a parameter of the same name."""

    name = "patch"
    columns = 1
    body = argument(FileParameter("body"), _parameter, doc="the field of the patch itself")
    level = argument(IntParameter("level", default=1), _parameter, doc="that of the number of directories to strip")
    author = argument(StringParameter("author"), _parameter, doc="that of its author")
    comment = argument(StringParameter("comment"), _parameter, doc="that of a comment")
    subdir = argument(StringParameter("subdir", default="."), _parameter, doc="that of the directory to apply it in")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.by_name(args, kwargs)
        own = {name: given.get(name, getattr(type(self), name)) for name in _PATCH}
        wanted = [each for each in own.values() if isinstance(each, BaseParameter)]
        super().__init__(**{"fields": wanted, **given})


class CodebaseParameter(NestedParameter):
    """What to build of one codebase: branch, revision, repository, project.

    Each is a parameter, or a text that fixes the value; None fixes none.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "codebase", "name", "label", "branch", "revision", "repository", "project", "patch",
    )  # fmt: skip
    name: Any = argument(None, configured.optional(configured.text), doc="of the group; None: the codebase's")
    codebase = argument(REQUIRED, configured.text, doc="its name; empty for the one without")
    branch = argument(StringParameter("branch", "Branch:"), _field, doc="the parameter of the branch, a text, or None")
    revision = argument(StringParameter("revision", "Revision:"), _field, doc="the same of the revision")
    repository = argument(StringParameter("repository", "Repository:"), _field, doc="the same of the repository")
    project = argument(StringParameter("project", "Project:"), _field, doc="the same of the project")
    patch = argument(None, configured.optional(_parameter), doc="a `PatchParameter`, to let people build a patch")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.by_name(args, kwargs)
        if given.get("name") is None:
            codebase = given.get("codebase", type(self).codebase)
            given["name"] = codebase if isinstance(codebase, str) else ""
        own = {key: given.get(key, getattr(type(self), key)) for key in ("branch", "project", "repository", "revision")}
        fields = [
            value if isinstance(value, BaseParameter) else FixedParameter(key, default=value or "")
            for key, value in own.items()
        ]
        patch = given.get("patch", type(self).patch)
        fields += [patch] if isinstance(patch, BaseParameter) else []
        super().__init__(**{"fields": fields, **given})

    def sourcestamp(self, submitted: Submitted, messages: dict[str, str]) -> dict[str, Any]:
        """The source stamp for what was submitted; what is left empty is ``""``, as existing configurations expect."""
        values = self.collect(submitted, messages)
        stamp: dict[str, Any] = {"codebase": self.codebase}
        for key in ("branch", "revision", "repository", "project"):
            try:
                stamp[key] = "" if values[key] is None else as_text(values[key], key)
            except ValidationError as problem:  # a parameter of the user's own kind may give anything
                messages[self.full_name(key)] = str(problem)
        patch = values.get("patch")
        if patch and patch["body"]:
            stamp |= {f"patch_{key}": value for key, value in patch.items()}
            stamp["patch_level"] = self.__level(patch["level"], messages)
        for key, most in _LONGEST.items():
            given = stamp.get(key)
            if given is not None and not isinstance(given, str):
                messages.setdefault(self.full_name(key), f"{key}: not a text")
            elif given is not None and len(given) > most:
                messages.setdefault(self.full_name(key), f"{key}: longer than {most} characters")
        return stamp

    def __level(self, given: Any, messages: dict[str, str]) -> int:
        """The level of a patch, which a field of any kind may give."""
        key = self.full_name("patch_level")
        if key in messages:
            return 0
        try:
            level: int = IntParameter("level").value([1 if given is None else given])
        except ValidationError as problem:
            messages[key] = str(problem)
            return 0
        if not 0 <= level <= MAX_SMALL:
            messages[key] = f"{shown(level)} is not between 0 and {MAX_SMALL}"
        return level


class ParameterGroup(NestedParameter):
    """The same as `NestedParameter`, as some configurations call it."""
