"""Every kind that a configuration can name is run by a test, not only made by one.

Which kinds are run is read off the tests: a name counts where a test calls it, inherits from it or is given it, unless
that is where mistakes are expected, or where configurations are only read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from buildbot.plugins import LEFT_OUT
from tests.unit.test_names import _plugin_names

TESTS = Path(__file__).parents[1]
#: tests that only read configurations
READING = (
    *(f"unit/config/{name}" for name in ("configurations", "parts", "test_configurations", "test_loader", "test_master",
                                         "test_mistakes", "test_documentation", "test_arguments")),
    "unit/test_names", "unit/test_plugins", "docs/", "unit/schedulers/test_arguments",
)  # fmt: skip
#: names that no test runs, each with the reason
NOT_RUN: frozenset[str] = frozenset()


def _sources() -> Iterator[ast.Module]:
    """The tests, and the configurations that whole masters run."""
    for path in (*TESTS.rglob("*.py"), *(TESTS / "e2e" / "configurations").glob("*.cfg")):
        if not str(path.relative_to(TESTS)).startswith(READING):
            yield ast.parse(path.read_text(encoding="utf-8"))


def _expects_mistakes(node: ast.AST) -> bool:
    """Whether it is a block, or a test, in which something is refused."""
    if isinstance(node, ast.With | ast.AsyncWith):
        return any("raises" in ast.unparse(item.context_expr) for item in node.items)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
        word in node.name for word in ("mistake", "wrong", "refused")
    )


def _used(node: ast.AST) -> Iterator[str]:
    """The names that are called, inherited from or handed over."""
    if _expects_mistakes(node):
        return
    found: list[ast.expr] = []
    match node:
        case ast.Call():
            found = [node.func, *node.args, *(each.value for each in node.keywords)]
        case ast.ClassDef():
            found = node.bases
        case ast.List() | ast.Tuple() | ast.Set():
            found = node.elts
        case ast.Dict():
            found = [*node.values, *(each for each in node.keys if each is not None)]
        case ast.Assign() | ast.AnnAssign():
            found = [node.value or ast.Constant(None)]
        case ast.Compare():
            found = [node.left, *node.comparators]
        case ast.Lambda() | ast.Return():
            found = [node.body if isinstance(node, ast.Lambda) else node.value or ast.Constant(None)]
    for each in found:
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr
    for child in ast.iter_child_nodes(node):
        yield from _used(child)


def test_every_hook_is_run() -> None:
    """Each dialect of hooks is asked by a test of hooks."""
    path = TESTS / "unit" / "www" / "test_hooks.py"
    said = {each.value for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Constant)}
    assert {name for space, name in _plugin_names() if space == "webhooks"} <= said


def test_every_kind_is_run() -> None:
    """Of the names that configurations use, those that no test runs are listed here with the reason, and no others."""
    used = {name for module in _sources() for name in _used(module)}
    names = {name for space, name in _plugin_names() if space != "webhooks" and name not in LEFT_OUT.get(space, {})}
    assert {name for name in names if name.rpartition(".")[2] not in used} == NOT_RUN
