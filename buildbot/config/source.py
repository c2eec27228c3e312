"""The lines of keys and calls in a master.cfg, from its syntax tree, for messages."""

from __future__ import annotations

import ast
from collections.abc import Iterator

#: syntax with names of its own
_INNER = (
    ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.For | ast.While | ast.With
    | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
)  # fmt: skip


class Source:
    """The text of a configuration file, parsed.

    Args:
        filename: the name of the file in messages (``master.cfg``).
        tree: the parsed module; None if it is not known: then no line is known.
    """

    def __init__(self, filename: str, tree: ast.Module | None = None) -> None:
        self.filename = filename
        self._key_lines: dict[str, int] = {}
        self._calls: dict[tuple[str, str], int] = {}
        if tree is not None:
            for node in ast.walk(tree):
                self._index_key(node)
                self._index_call(node)

    def _index_key(self, node: ast.AST) -> None:
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            key = constant_text(node.slice)
            # The last assignment counts; a line that reads `c['workers']` is not the place of a mistake.
            if key is not None and isinstance(node.ctx, ast.Store):
                self._key_lines[key] = max(node.lineno, self._key_lines.get(key, 0))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            if "BuildmasterConfig" in names:
                for key_node in node.value.keys:
                    key = constant_text(key_node)
                    if key is not None and key_node is not None:
                        self._key_lines.setdefault(key, key_node.lineno)

    def _index_call(self, node: ast.AST) -> None:
        if not isinstance(node, ast.Call):
            return
        if isinstance(node.func, ast.Attribute):
            called = node.func.attr
        elif isinstance(node.func, ast.Name):
            called = node.func.id
        else:
            return
        name = constant_text(node.args[0]) if node.args else None
        for keyword in node.keywords:
            if keyword.arg == "name":
                name = constant_text(keyword.value)
        if name is not None:
            self._calls[called, name] = max(node.lineno, self._calls.get((called, name), 0))

    def key(self, key: str) -> str:
        """The place of ``c[key] = …`` as ``master.cfg:12``, or the file's name if no line is known."""
        line = self._key_lines.get(key)
        return self.filename if line is None else f"{self.filename}:{line}"

    def call(self, class_name: str, name: str) -> str | None:
        """The place where ``ClassName("name", …)`` or ``ClassName(name="name")`` is written, the last of several.

        Args:
            class_name: the last part of the name of the class.
            name: the constant first argument or ``name=``.
        """
        line = self._calls.get((class_name, name))
        return None if line is None else f"{self.filename}:{line}"


def constant_text(node: ast.AST | None) -> str | None:
    """The text of a string literal; None for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


class Effects:
    """The names and keys that a statement reads and changes, from its text.

    Attributes:
        reads: names it uses.
        binds: names it gives a value.
        changes: names whose object it may change by calling a method (``factory.addStep(…)``).
        keys: constant keys it assigns or changes (``c['builders'].append(…)``).
    """

    def __init__(self, statement: ast.AST) -> None:
        self.reads: set[str] = set()
        self.binds: set[str] = set()
        self.changes: set[str] = set()
        self.keys: set[str] = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                (self.reads if isinstance(node.ctx, ast.Load) else self.binds).add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.binds.add(node.name)
            elif isinstance(node, ast.alias):
                self.binds.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.Subscript):
                key = constant_text(node.slice)
                if key is not None:
                    self.keys.add(key)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name):
                    self.changes.add(owner.id)


def statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, ast.Module]]:
    """The top-level statements of a module, each with a module of its own."""
    for statement in tree.body:
        yield statement, ast.Module(body=[statement], type_ignores=[])


def elements(node: ast.AST) -> Iterator[ast.expr]:
    """The elements of the outermost lists, tuples and dictionaries in a statement or an expression. Those in functions
    and comprehensions are left out, since their names are not known.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _INNER):
            continue
        if isinstance(child, ast.List | ast.Tuple) and isinstance(child.ctx, ast.Load):
            yield from (each for each in child.elts if not isinstance(each, ast.Starred))
        elif isinstance(child, ast.Dict):
            yield from child.values
        else:
            yield from elements(child)
