"""Only modules in the folder of dialects contain names of databases."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import buildbot

ROOT = Path(buildbot.__file__).parent
NAMES = ("sqlite", "postgres", "mysql", "mariadb", "psycopg", "innodb")
#: rooms whose text is about databases, in words for people
TALKS = {"docs", "migrations"}
FILES = [
    path
    for room in ("db", "mq", "data", "resources", "util", "www", "process")
    for path in sorted((ROOT / room).rglob("*.py"))
    if "dialects" not in path.parts and not TALKS & set(path.parts)
]


def docstrings(tree: ast.AST) -> set[int]:
    """Ids of the nodes that are documentation."""
    found = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            found.add(id(body[0].value))
    return found


#: rooms that tell people which URLs there are, and decide nothing by it
SAYS = [path for room in ("config", "scripts") for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", SAYS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_decided_by_name(path: Path) -> None:
    """No comparison with the name of a database."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare):
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                assert part.value.lower() not in NAMES, f"line {node.lineno}: {part.value!r}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_database_is_named(path: Path) -> None:
    """No name of a database in code: neither a text, nor a name, nor an import."""
    tree = ast.parse(path.read_text())
    documentation = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            said = [node.value]
        elif isinstance(node, ast.Name | ast.Attribute):
            said = [node.id if isinstance(node, ast.Name) else node.attr]
        elif isinstance(node, ast.keyword):
            said = [node.arg or ""]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            said = [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
        else:
            continue
        for text in said:
            assert not any(name in text.lower() for name in NAMES), f"line {getattr(node, 'lineno', '?')}: {text!r}"
