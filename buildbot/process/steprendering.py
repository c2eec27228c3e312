"""Rendering of a step's arguments: name and flags before it begins, the others before its ``run``."""

from __future__ import annotations

from buildbot.config.arguments import rendered_names
from buildbot.db.exceptions import NotClaimedError
from buildbot.interfaces import holds_renderable, is_plain, is_renderable
from buildbot.process.stepcontract import BuildStepFailed, RunningStep
from buildbot.process.stepdescription import StepDescription
from buildbot.util.deferreds import resolved

#: longest name of a step
MAX_NAME = 50


async def asked(step: RunningStep, condition: object, *args: object) -> bool:
    """The value of a condition, which is True or False, a renderable, or a function of ``args``."""
    if callable(condition) and not is_renderable(condition):
        condition = await resolved(condition(*args))
    return bool(await _rendered(step, condition))


async def _rendered(step: RunningStep, value: object) -> object:
    """``value`` rendered; most values are plain, and cost nothing."""
    return value if is_plain(value) else await step.render(value)


def has_locks(step: RunningStep) -> bool:
    """Whether a step has locks, or may have some once they are rendered."""
    return holds_renderable(step.locks) or bool(step.locks)


async def render_name(step: RunningStep) -> None:
    """Render the name. If that fails, the step gets the name of its class."""
    name, step.name = step.name, type(step).__name__
    text = step.build.properties.redactor.clean(str(await _rendered(step, name)))
    step.name = text[:MAX_NAME] or step.name


async def render_flags(step: RunningStep) -> None:
    """Render each flag to True or False; a flag that cannot be rendered gets the default of all steps."""
    problem: Exception | None = None
    for flag in step.flags:
        given: object = getattr(step, flag)
        try:
            setattr(step, flag, bool(await _rendered(step, given)))
        except NotClaimedError:
            raise
        except Exception as failed:
            problem = failed
            setattr(step, flag, getattr(StepDescription, flag))
    if problem is not None:
        raise problem


async def render_attributes(step: RunningStep) -> None:
    """Render the attributes before ``run``. Raises BuildStepFailed if a value of a declared argument is not allowed."""
    if step.workdir is None:
        step.workdir = await step.default_workdir()
    for attribute in rendered_names(type(step)):
        value = await _rendered(step, getattr(step, attribute))
        try:
            step.set_rendered(attribute, value)
        except ValueError as reason:
            raise BuildStepFailed(f"{type(step).__name__}: {reason}") from None
    if not step.workdir:
        step.workdir = await step.render(await step.default_workdir())
    step.rendered = True


async def render_what_can_be(step: RunningStep) -> None:
    """Render for the summary of a step that does not run; an attribute that cannot be rendered stays."""
    whole = True
    for attribute in rendered_names(type(step)):
        try:
            step.set_rendered(attribute, await _rendered(step, getattr(step, attribute)))
        except Exception:
            whole = False
    step.rendered = whole
