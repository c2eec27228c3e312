"""The description of a step in a configuration: its arguments, and the call that makes a new step for every build."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Generic, Self, TypeVar

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument, arguments_of
from buildbot.config.locks import lock_list
from buildbot.interfaces import holds_renderable
from buildbot.util.results import SUCCESS, statusToString

#: names that do not describe a step
NO_NAMES = ("generic", "shell")

StepT = TypeVar("StepT", bound="StepDescription")


def _encoding(value: object) -> str | Callable[..., Any]:
    return value if callable(value) else checks.encoding(value)


def _policy(value: object) -> Collection[int] | bool | None:
    if value is None or isinstance(value, (bool, list, tuple, set, frozenset)):
        return value
    raise ValueError(f"must be True, False, None or a list of result codes, not {checks.kind(value)}")


class StepFactory(Generic[StepT]):
    """The recorded call that made a step; `build` repeats it."""

    def __init__(self, step_class: type[StepT], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.step_class, self.args, self.kwargs = step_class, args, kwargs

    def __repr__(self) -> str:
        return f"StepFactory({self.step_class.__name__})"

    def build(self) -> StepT:
        """A new step."""
        return self.step_class(*self.args, **self.kwargs)

    def buildStep(self) -> StepT:
        """A new step."""
        return self.build()


class StepDescription(Declared):
    """The arguments of every step, which `BuildStep` inherits; they are also class attributes that give the defaults.

    A step keeps the call that made it, so that every build can make a new step.
    """

    name = argument("generic", checks.text, renderable=True, doc="shown in pages; a repeated name gets a number")
    description: object = argument(None, rendered=True, doc="its text while it runs; a text or a list of words")
    descriptionDone: object = argument(None, rendered=True, doc="its text at its end; None: `description`")
    descriptionSuffix: object = argument(None, rendered=True, doc="put behind either")
    doStepIf: object = argument(True, renderable=True, doc="whether to run it: True, False, or `f(step)`")
    hideStepIf: object = argument(
        False, renderable=True, doc="whether pages hide it: True, False, or `f(results, step)`; asked at the end"
    )
    haltOnFailure = argument(
        False, checks.flag, renderable=True, doc="a failure ends the build (steps with `alwaysRun` excepted)"
    )
    flunkOnWarnings = argument(False, checks.flag, renderable=True, doc="warnings of the step make the build fail")
    flunkOnFailure = argument(True, checks.flag, renderable=True, doc="a failure of the step makes the build fail")
    warnOnWarnings = argument(False, checks.flag, renderable=True, doc="warnings make the build end with warnings")
    warnOnFailure = argument(False, checks.flag, renderable=True, doc="a failure makes the build end with warnings")
    alwaysRun = argument(False, checks.flag, renderable=True, doc="run even after the build was halted or stopped")
    updateBuildSummaryPolicy = argument(
        None,
        _policy,
        doc="""with which results the build's final text mentions it: a list of result codes, True for all, False for
        none, None for those that the build's result does not ignore""",
    )
    logEncoding = argument(
        None,
        checks.optional(_encoding),
        doc="""how bytes that the step adds to its logs become text: the name of an encoding, or a function; None:
        UTF-8. What workers send is text already""",
    )
    progressMetrics: Collection[str] = argument((), checks.list_of(checks.text), doc="the names for `setProgress`")
    useProgress = argument(True, checks.flag, doc="whether its time can be predicted from earlier builds")
    locks: object = argument(
        (), lock_list, renderable=True, doc="the locks that it holds while it runs: a list of `lock.access(…)`"
    )
    workdir = argument(
        None, rendered=True, doc="its directory on the worker, relative to the builder's; None: the build's"
    )

    #: names of the arguments that every step takes
    parms: ClassVar[Collection[str]]
    #: names of the arguments about the effect of its result on the build's
    flags = ("haltOnFailure", "flunkOnWarnings", "flunkOnFailure", "warnOnWarnings", "warnOnFailure", "alwaysRun")
    #: names of further attributes that are rendered before ``run``, besides those of base classes
    renderables: ClassVar[Collection[str]] = ()

    __factory: StepFactory[Self]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        step = super().__new__(cls)
        step.__factory = StepFactory(cls, args, kwargs)
        return step

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def check_arguments(self) -> None:
        """Report mistakes in the whole step with `buildbot.config.errors.error`; called by factories."""

    def get_step_factory(self) -> StepFactory[Self]:
        """The factory of steps like this one: the call that made it."""
        return self.__factory

    def set_step_arg(self, name: str, value: object) -> None:
        """Change an argument of the steps that builds make of this description."""
        self.__factory.kwargs[name] = value

    def is_exact_step_class(self, cls: type) -> bool:
        """Whether it is of this class itself, not of a subclass."""
        return self.__factory.step_class is cls

    def describe(self, *choices: object, why: str = "") -> str:
        """The first of several descriptions that is not empty, the suffix, and ``why``, as one text.

        A description is a text or a list of words. One that still holds a renderable counts as empty: the step ended
        before it was rendered.
        """
        text = next(filter(None, map(described, choices)), "")
        whole = " ".join(filter(None, (text, described(self.descriptionSuffix)))) if text else ""
        return f"{whole}: {why}" if why else whole


StepDescription.parms = tuple(arguments_of(StepDescription))


def described(words: object) -> str:
    """A description, which is a text or a list of words, as a text; empty if there is none or it is not rendered."""
    if words is None or holds_renderable(words):
        return ""
    return " ".join(map(str, words)) if isinstance(words, (list, tuple)) else str(words)


def own_name(name: object) -> str:
    """A step's name; empty if it does not describe the step. The number of a repeated name is ignored."""
    text = described(name)
    return text if re.sub(r"_\d+\Z", "", text) not in NO_NAMES else ""


def with_result(text: str, results: int | None) -> str:
    """``text``, and in parentheses the result if it is not success."""
    return text if results in (None, SUCCESS) else f"{text} ({statusToString(results)})"
