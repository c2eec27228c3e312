"""Operators of renderables: computed when they are rendered, refused where Python would decide at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.config.loader import load_config
from buildbot.interfaces import holds_renderable
from buildbot.process.properties import Interpolate, Properties, Property, Transform, renderer
from buildbot.process.rendering import same_description
from buildbot.schedulers.basic import SingleBranchScheduler

P: Any = Property("branch")
N: Any = Property("n")
TEXT: Any = Interpolate("%(prop:branch)s-%(prop:n)s")
T: Any = Transform(str.upper, Property("branch"))


@renderer
def size(props: Properties) -> int:
    """A function of the properties."""
    return len(props.getProperty("branch"))


R: Any = size


@pytest.mark.parametrize(
    ("make", "text", "value"),
    [
        (lambda: P == "main", "Property(branch) == 'main'", True),
        (lambda: P != "main", "Property(branch) != 'main'", False),
        (lambda: P == "main", "Property(branch) == 'main'", True),
        (lambda: N < 6, "Property(n) < 6", True),
        (lambda: N <= 5, "Property(n) <= 5", True),
        (lambda: N > 5, "Property(n) > 5", False),
        (lambda: N >= 6, "Property(n) >= 6", False),
        (lambda: N < 6, "Property(n) < 6", True),
        (lambda: N + 1 == 6, "(Property(n) + 1) == 6", True),
        (lambda: N - 1, "Property(n) - 1", 4),
        (lambda: N * N, "Property(n) * Property(n)", 25),
        (lambda: N / 2, "Property(n) / 2", 2.5),
        (lambda: N // 2, "Property(n) // 2", 2),
        (lambda: N % 3, "Property(n) % 3", 2),
        (lambda: P + "!", "Property(branch) + '!'", "main!"),
        (lambda: P.in_(["main", "rel"]), "Property(branch) in ['main', 'rel']", True),
        (lambda: P.in_([Property("other")]), "Property(branch) in [Property(other)]", False),
        (lambda: P.in_(("rel",)) == False, "(Property(branch) in ('rel',)) == False", True),  # noqa: E712
        (lambda: TEXT == "main-5", "Interpolate('%(prop:branch)s-%(prop:n)s') == 'main-5'", True),
        (lambda: TEXT == P, "Interpolate('%(prop:branch)s-%(prop:n)s') == Property(branch)", False),
        (lambda: T == "MAIN", "Transform(upper, Property(branch)) == 'MAIN'", True),
        (lambda: R == 4, "renderer(size) == 4", True),
        (lambda: R.withArgs() + N, "renderer(size) + Property(n)", 9),
        (lambda: Property("none") == None, "Property(none) == None", True),  # noqa: E711
    ],
)
async def test_operators(make: Callable[[], Any], text: str, value: Any) -> None:
    """Comparing and computing gives a renderable, whose value is that of the rendered operands."""
    operation = make()
    assert repr(operation) == text
    props = Properties(branch="main", n=5)
    assert await props.render([operation]) == [value]


async def test_without_a_value() -> None:
    """Operands that cannot be computed with fail when they are rendered, and the message shows the expression."""
    with pytest.raises(TypeError, match=r"Property\(n\) \+ 1: unsupported operand"):
        await Properties().render(N + 1)


@pytest.mark.parametrize(
    ("use", "expression"),
    [
        *[(lambda each=each: bool(each), repr(each)) for each in (P, TEXT, T, R, P == "main", N + 1)],
        (lambda: not P, "Property(branch) is neither true nor false"),
        (lambda: P and "x", "Property(branch) is neither"),
        (lambda: P or "x", "Property(branch) is neither"),
        (lambda: 1 if P == "main" else 2, "Property(branch) == 'main' is neither"),
        (lambda: 1 < N < 3, "Property(n) > 1 is neither"),
        (lambda: P in ("main", "rel"), "Property(branch) == 'main' is neither"),
        (lambda: sorted([N, P]), "Property(branch) < Property(n) is neither"),
        (lambda: any([P]), "Property(branch) is neither"),
        (lambda: P in {"main", "rel"}, "Property(branch) has no value"),
        (lambda: {"main": 1}.get(P), "Property(branch) has no value"),
        (lambda: {P == "main"}, "Property(branch) == 'main' has no value"),
        (lambda: {P: 1}, "Property(branch) has no value"),
        (lambda: str(P), "Property(branch) is not a text"),
        (lambda: f"make {P}", "Property(branch) is not a text"),
        (lambda: f"make {TEXT:>5}", "Interpolate('%(prop:branch)s-%(prop:n)s') is not a text"),
        (lambda: "make %s" % P, "Property(branch) is not a text"),  # noqa: UP031
        (lambda: "make {}".format(P == "x"), "Property(branch) == 'x' is not a text"),
        (lambda: P["key"], "Property(branch) has no items"),
        (lambda: list(P), "Property(branch) has no"),
        (lambda: [each == 1 for each in P], "Property(branch) has no items"),
        (lambda: "m" in P, "Property(branch) has no items"),
        (lambda: len(P), "Property(branch) has no length"),
        (lambda: 1 + N, "1 + Property(n)"),
        (lambda: "x" + P, "'x' + Property(branch)"),
        (lambda: [1] + P, "[1] + Property(branch)"),  # noqa: RUF005
        (lambda: 2 * N, "2 * Property(n)"),
        (lambda: 2 - N, "2 - Property(n)"),
        (lambda: 2 / N, "2 / Property(n)"),
        (lambda: 2 // N, "2 // Property(n)"),
        (lambda: 2 % N, "2 % Property(n)"),
        (lambda: (P == "a") & (N == 1), "(Property(branch) == 'a') & (Property(n) == 1)"),
        (lambda: P | None, "Property(branch) | None"),
        (lambda: N**2, "Property(n) ** 2"),
        (lambda: 2**N, "2 ** Property(n)"),
        (lambda: -N, "-Property(n)"),
        (lambda: ~(P == "x"), "~(Property(branch) == 'x')"),
        (lambda: abs(N), "abs(Property(n))"),
        (lambda: int(N), "int(Property(n))"),
        (lambda: float(N), "float(Property(n))"),
        (lambda: divmod(N, 2), "divmod(Property(n), 2)"),
    ],
)
def test_refused(use: Callable[[], Any], expression: str) -> None:
    """Where Python wants a value at once, or the operator is none of theirs: an error that names the expression."""
    with pytest.raises(ConfigErrors) as caught:
        use()
    assert expression in str(caught.value)


def test_not_a_collection() -> None:
    """What tells texts, lists and renderables apart by their kind is not led astray."""
    from collections.abc import Iterable

    assert not isinstance(P, Iterable) and not callable(P)
    assert holds_renderable([("x", {"a": P == 1})]) and not holds_renderable([Property, {"a": "b"}])


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"a": Property("x", default=[Property("y")])},
        lambda: [Property("x") == "y", (Property("n") + 1).in_([1, Property("m")])],
        lambda: Interpolate("%(kw:a)s", a=Property("x")),
        lambda: (Transform(str.upper, Property("x")), size.withArgs(1, a=Property("y"))),
    ],
)
def test_same_description(make: Callable[[], Any]) -> None:
    """Renderables with equal descriptions are equal, for the comparison of configurations."""
    assert same_description(make(), make())
    for other in (
        {"a": Property("x")},
        [Property("x") != "y", 1],
        Interpolate("%(kw:a)s", a=Property("z")),
        None,
        (1,),
    ):
        assert not same_description(make(), other) and not same_description(other, make())

    class Own:
        def __init__(self) -> None:
            self.value = Property("x")

        def __eq__(self, other: object) -> bool:
            return bool(self.value == other)

        __hash__ = None  # type: ignore[assignment]

    assert not same_description([Own()], [Own()])


def test_unchanged_scheduler() -> None:
    """A scheduler whose properties are renderables is the same when the configuration is read again."""
    first, second, changed = (
        SingleBranchScheduler("s", builderNames=["b"], branch="main", properties={"p": Property("q") == value})
        for value in (1, 1, 2)
    )
    assert first == second and first != changed


def test_checkconfig(tmp_path: Path) -> None:
    """Each use that decides too early is reported with its line, all in one run."""
    (tmp_path / "master.cfg").write_text(
        "from buildbot.plugins import steps, util, worker\n"
        "c = BuildmasterConfig = {}\n"
        "f = util.BuildFactory()\n"
        "branch = util.Property('branch')\n"
        "f.addStep(steps.ShellCommand(command='true', doStepIf=branch == 'main'))\n"
        "f.addStep(steps.ShellCommand(command='true', doStepIf=branch == 'main' and branch != 'x'))\n"
        "f.addStep(steps.ShellCommand(command=f'make {branch}'))\n"
        "if branch in ('main', 'rel'):\n"
        "    f.addStep(steps.ShellCommand(command='deploy'))\n"
        "f.addStep(steps.ShellCommand(command='true', doStepIf=not branch))\n"
        "f.addStep(steps.ShellCommand(command='true', timeout=60 * util.Property('n')))\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path)
    errors = caught.value.errors
    for line, expression in (
        (6, "Property(branch) == 'main'"),
        (7, "Property(branch) is not a text"),
        (8, "Property(branch) == 'main'"),
        (10, "Property(branch) is neither"),
        (11, "60 * Property(n)"),
    ):
        assert any(each.startswith(f"master.cfg:{line}: ") and expression in each for each in errors), (line, errors)
    assert not any(each.startswith("master.cfg:5:") for each in errors)
