"""ForceScheduler: builds that people start by hand, with a form to fill in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.data.exceptions import ControlParamsError, InvalidControlError
from buildbot.schedulers.groups import (
    AnyPropertyParameter,
    CodebaseParameter,
    NestedParameter,
    ParameterGroup,
    PatchParameter,
)
from buildbot.schedulers.parameters import (
    SOURCE,
    BaseParameter,
    BooleanParameter,
    ChoiceStringParameter,
    FileParameter,
    FixedParameter,
    InheritBuildParameter,
    IntParameter,
    StringParameter,
    TextParameter,
    UserNameParameter,
    ValidationError,
    WorkerChoiceParameter,
    is_storable,
)
from buildbot.schedulers.scheduler import Scheduler
from buildbot.util.checks import MAX_REASON, MAX_SMALL
from buildbot.util.deferreds import resolved

__all__ = [
    "AnyPropertyParameter",
    "BaseParameter",
    "BooleanParameter",
    "ChoiceStringParameter",
    "CodebaseParameter",
    "FileParameter",
    "FixedParameter",
    "ForceScheduler",
    "InheritBuildParameter",
    "IntParameter",
    "NestedParameter",
    "ParameterGroup",
    "PatchParameter",
    "StringParameter",
    "TextParameter",
    "UserNameParameter",
    "ValidationError",
    "WorkerChoiceParameter",
]

_log = Logger()


def _one_parameter(value: Any) -> BaseParameter:
    if not isinstance(value, BaseParameter):
        raise ValueError(f"must be a parameter (util.StringParameter(...), …), not {checks.kind(value)}")
    return value


def _parameter(value: Any) -> BaseParameter | None:
    return None if value is None else _one_parameter(value)


def _codebases(value: Any) -> list[CodebaseParameter] | None:
    if value is None:
        return None
    groups = [CodebaseParameter(each) if isinstance(each, str) else each for each in checks.sequence(value)]
    if not groups or not all(isinstance(each, CodebaseParameter) for each in groups):
        raise ValueError("must be a list of names or CodebaseParameters, and not empty")
    return groups


def _reason(value: Any) -> str:
    try:
        checks.text(value) % {"owner": "", "reason": ""}
    except (KeyError, TypeError) as problem:
        raise ValueError(f"may hold %(owner)s and %(reason)s ({problem!r})") from None
    return str(value)


class ForceScheduler(Scheduler):
    """Shows a form, and builds with the submitted values."""

    positional: ClassVar[tuple[str, ...]] = ("name", "builderNames")
    builderNames = argument(REQUIRED, checks.list_of(checks.text), doc="names of the builders that it may force")
    username: Any = argument(None, _parameter, doc="the parameter of the form that says who forces; None: a text field")
    reason: Any = argument(None, _parameter, doc="the parameter of the reason; None: a text field")
    priority: Any = argument(None, _parameter, doc="the parameter of the priority; None: a number field")
    reasonString = argument(
        "A build was forced by '%(owner)s': %(reason)s",
        _reason,
        doc="of the buildset; `%(owner)s` and `%(reason)s` are filled in",
    )
    buttonName = argument(None, checks.optional(checks.text), doc="of the page's button; None: the name")
    label = argument(None, checks.optional(checks.text), doc="of the form; None: the name")
    codebases: Any = argument(
        None,
        _codebases,
        doc="`CodebaseParameter` of each codebase, or its name; None: one for the codebase without a name",
    )
    properties: Any = argument(
        None,
        checks.optional(checks.list_of(_one_parameter)),
        doc="further parameters; each becomes a property",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.username = self.username or UserNameParameter()
        self.reason = self.reason or StringParameter("reason", default="force build", size=20)
        self.priority_parameter = self.priority or IntParameter("priority", default=0)
        self.priority = None
        self.buttonName = self.buttonName or self.name
        self.label = self.label or self.name
        first = NestedParameter("", fields=[self.username, self.reason, self.priority_parameter])
        self.all_fields: list[BaseParameter] = [first, *self.codebase_parameters, *self.property_parameters]
        self.__check_names()

    def stated_properties(self) -> dict[str, Any]:
        """None: the submitted values become the properties."""
        self.property_parameters: list[BaseParameter] = list(self.properties or ())
        return {}

    def stated_codebases(self) -> dict[str, Mapping[str, Any]]:
        """The codebases of the form's parameters."""
        self.codebase_parameters: list[CodebaseParameter] = self.codebases or [CodebaseParameter("")]
        return {each.codebase: {} for each in self.codebase_parameters}

    def __check_names(self) -> None:
        # a property may have the name of a codebase's field: then one value is submitted for both
        for group in (self.codebase_parameters, self.property_parameters):
            names = [name for each in (self.all_fields[0], *group) for name in each.full_names()]
            for name in sorted({each for each in names if names.count(each) > 1}):
                error(f"ForceScheduler {self.name!r}: there are two parameters named {name!r}")
        try:
            json.dumps([each.describe() for each in self.all_fields], allow_nan=False)
        except (TypeError, ValueError) as problem:
            error(f"ForceScheduler {self.name!r}: a parameter cannot be shown on the page: {problem}")

    def describe(self) -> dict[str, Any]:
        """The public description, without ``enabled``."""
        return {
            "name": self.name,
            "button_name": self.buttonName,
            "label": self.label,
            "builder_names": list(self.builderNames),
            "all_fields": [each.describe() for each in self.all_fields],
        }

    async def claim(self, masterid: int | None) -> bool:
        """Claim it for a master, or give it up with None: then there is no form any more."""
        if masterid is None:
            await self.master.data.update.setForceScheduler(self.schedulerid, None)
        return await super().claim(masterid)

    async def start_scheduling(self) -> None:
        """Show the form."""
        await self.__refresh_choices(None)
        await self.master.data.update.setForceScheduler(self.schedulerid, self.describe())

    async def __refresh_choices(self, buildername: str | None) -> None:
        """Read the choices that are not fixed; an error is logged, and the old choices stay."""
        choices = [each for each in self.all_fields if isinstance(each, ChoiceStringParameter)]
        for group in self.all_fields:
            choices += group.choices_in() if isinstance(group, NestedParameter) else []
        for each in choices:
            try:
                await each.refresh(self.master, self, buildername)
            except Exception:
                _log.failure("{part!r}: the choices of {name!r} cannot be told", part=self, name=each.name)

    async def force(
        self, args: Mapping[str, Any], validation: Mapping[str, re.Pattern[str]] | None = None
    ) -> list[Any]:
        """Build with the submitted values.

        Args:
            args: ``owner`` (who is logged in, or ``anonymous``), ``builderNames`` or ``builderid``, and
                values by the fields' full names, a list or a single one.
            validation: ``c['validation']``: what branches, revisions, and properties of any name must match.

        Returns:
            ``[bsid, {builderid as text: buildrequestid}]``

        Raises:
            ControlParamsError: with a message for each field that is not valid; nothing was done.
            InvalidControlError: no such builder here.
        """
        builders = await self.__chosen_builders(args)
        await self.__refresh_choices(builders[0] if len(builders) == 1 else None)
        submitted = {key: value if isinstance(value, list) else [value] for key, value in args.items()}
        messages: dict[str, str] = {}
        owner = args.get("owner") or "anonymous"
        if owner == "anonymous":
            # Pages do not ask those who are logged in.
            owner = self.username.collect(submitted, messages)
        elif not is_storable(owner):
            messages["owner"] = "owner: not a text that can be stored"
        reason = self.reason.collect(submitted, messages)
        priority = self.__priority(submitted, messages)
        stamps = [each.sourcestamp(submitted, messages) for each in self.codebase_parameters]
        values: dict[str, Any] = {}
        free: list[tuple[AnyPropertyParameter, str, Any]] = []
        for each in self.property_parameters:
            if type(each).updateFromKwargs is not BaseParameter.updateFromKwargs:
                await self.__update(each, values, stamps, submitted, messages)
                continue
            found = each.collect(submitted, messages)
            flat = isinstance(each, AnyPropertyParameter) or (isinstance(each, NestedParameter) and not each.name)
            values |= found if flat else {each.name: found}
            if isinstance(each, AnyPropertyParameter):
                free += [(each, key, value) for key, value in found.items()]
        self.__check_patterns(stamps, free, validation or {}, messages)
        whole_reason = self.reasonString % {"owner": owner, "reason": reason}
        if len(whole_reason) > MAX_REASON:
            key = (self.reason if len(str(reason)) > len(str(owner)) else self.username).fullName or ""
            messages.setdefault(key, f"the reason of the build is longer than {MAX_REASON} characters")
        if messages:
            raise ControlParamsError(messages)
        values |= {"reason": reason, "owner": owner}
        bsid, brids = await resolved(
            self.addBuildsetForSourceStampsWithDefaults(
                reason=whole_reason,
                sourcestamps=stamps,
                properties={name: (value, SOURCE) for name, value in values.items()},
                builderNames=builders,
                priority=priority,
            )
        )
        return [bsid, {str(builderid): brid for builderid, brid in brids.items()}]

    async def __update(
        self,
        parameter: BaseParameter,
        values: dict[str, Any],
        stamps: Sequence[Mapping[str, Any]],
        submitted: dict[str, Any],
        messages: dict[str, str],
    ) -> None:
        """Let a parameter that sets properties itself do so."""
        try:
            await resolved(
                parameter.updateFromKwargs(
                    master=self.master,
                    properties=values,
                    changes=[],
                    sourcestamps={stamp["codebase"]: stamp for stamp in stamps},
                    collector=None,
                    kwargs=submitted,
                )
            )
        except ValidationError as problem:
            messages[parameter.fullName or ""] = str(problem)

    def __check_patterns(
        self,
        stamps: Sequence[Mapping[str, Any]],
        free: Sequence[tuple[AnyPropertyParameter, str, Any]],
        validation: Mapping[str, re.Pattern[str]],
        messages: dict[str, str],
    ) -> None:
        """Say at its field what does not match the configuration's patterns."""
        asked = [
            (name, group.full_name(name), stamp.get(name))
            for group, stamp in zip(self.codebase_parameters, stamps, strict=True)
            for name in ("branch", "revision")
        ]
        for parameter, name, value in free:
            asked += [("property_name", parameter.full_name("name"), name)]
            asked += [("property_value", parameter.full_name("value"), value)]
        for kind, key, given in asked:
            pattern = validation.get(kind)
            if pattern is not None and given and not pattern.match(str(given)):
                messages.setdefault(key, f"'{given}' does not match the pattern '{pattern.pattern}'")

    def __priority(self, submitted: dict[str, Any], messages: dict[str, str]) -> int:
        """The priority that was submitted, by a parameter of any kind."""
        parameter, key = self.priority_parameter, self.priority_parameter.fullName or ""
        given = parameter.collect(submitted, messages)
        if key in messages:
            return 0
        wish = IntParameter(parameter.name or "priority", label=parameter.label)
        try:
            priority: int = wish.value([] if given is None else [given])
        except ValidationError as problem:
            messages[key] = str(problem)
            return 0
        if abs(priority) > MAX_SMALL:
            messages[key] = f"{parameter.label}: {priority} is not between -{MAX_SMALL} and {MAX_SMALL}"
        return priority

    async def __chosen_builders(self, args: Mapping[str, Any]) -> list[str]:
        names = args.get("builderNames")
        builderid = args.get("builderid")
        if names is not None:
            wanted = names if isinstance(names, list) else [names]
        elif builderid is not None:
            try:
                builder = await self.master.data.get({"fields": ["name"]}, ("builders", int(builderid)))
            except (TypeError, ValueError, OverflowError):
                raise InvalidControlError(f"builderid must be a number, not {builderid!r}") from None
            wanted = [builder["name"]] if builder is not None else []
        else:
            return list(self.builderNames)
        chosen = [name for name in self.builderNames if name in wanted]
        if not chosen:
            raise InvalidControlError(f"{self.name!r} cannot force builder {builderid if names is None else wanted!r}")
        return chosen
