"""The names that existing configurations use are there: those of `buildbot.plugins`, and paths of modules."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from inspect import ismodule
from pathlib import Path
from typing import Any

import pytest

from buildbot import plugins
from buildbot.interfaces import IReportGenerator
from buildbot.plugins import LEFT_OUT, NAMESPACES
from buildbot.plugins.db import get_plugins

HERE = Path(__file__).parent
#: how many of the names are there; of the others errors say what to use
THERE = "262 of 269"
#: a path ends here where it names all of a module
EVERYTHING = ".*"


def _lines(name: str) -> list[str]:
    return [line for line in (HERE / name).read_text().splitlines() if line and not line.startswith("#")]


def _plugin_names() -> Iterator[tuple[str, str]]:
    namespace = ""
    for line in _lines("names.txt"):
        if line.startswith("["):
            namespace = line.strip("[]")
        else:
            yield from ((namespace, name) for name in line.split())


def _found(path: str) -> Any:
    """The object at a dotted path; ImportError or AttributeError if there is none."""
    if path.endswith(EVERYTHING):
        return import_module(path.removesuffix(EVERYTHING))
    try:
        return import_module(path)
    except ModuleNotFoundError as problem:
        module, _, name = path.rpartition(".")
        if not module or problem.name is None or not path.startswith(problem.name):
            raise
        return getattr(import_module(module), name)


def _plugin(namespace: str, name: str) -> Any:
    found: Any = getattr(plugins, namespace)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_plugin_names() -> None:
    """Every name of Buildbot 4.3 is there, or an error says what to use instead."""
    missing = []
    for namespace, name in _plugin_names():
        try:
            _plugin(namespace, name)
        except (AttributeError, ImportError) as problem:
            if LEFT_OUT.get(namespace, {}).get(name, "no word of it") not in str(problem):
                missing.append(f"{namespace}.{name}")
    total = len(list(_plugin_names()))
    assert missing == [], f"{total - len(missing)} of {total}"
    there = sum(name not in LEFT_OUT.get(namespace, {}) for namespace, name in _plugin_names())
    assert f"{there} of {total}" == THERE


def test_reference() -> None:
    """Every name that is there has its place in the reference."""
    text = (HERE.parents[1] / "docs" / "reference" / "kinds.md").read_text()
    missing = [
        f"{namespace}.{name}"
        for namespace, name in _plugin_names()
        if name not in LEFT_OUT.get(namespace, {}) and f"\n### {name}\n" not in text and f"`{name}` (" not in text
    ]
    assert missing == []


def test_import_paths() -> None:
    """Every path that public configurations import is there."""
    paths = _lines("import_paths.txt")
    missing = []
    for path in paths:
        try:
            _found(path)
        except (AttributeError, ImportError):
            missing.append(path)
    assert missing == [], f"{len(paths) - len(missing)} of {len(paths)}"


def test_one_object() -> None:
    """A path gives the same object as the plugin of its name."""
    for path in _lines("import_paths.txt"):
        name, found = path.rpartition(".")[2], _found(path)
        for namespace in NAMESPACES:
            if name in dir(NAMESPACES[namespace]) and not path.startswith("buildbot.plugins") and not ismodule(found):
                assert found is getattr(NAMESPACES[namespace], name), path


@pytest.mark.parametrize(("namespace", "name"), [(space, name) for space, names in LEFT_OUT.items() for name in names])
def test_left_out(namespace: str, name: str) -> None:
    """A name that is left out is an error that says what to use; the guide has the same words."""
    with pytest.raises(AttributeError) as caught:
        getattr(getattr(plugins, namespace), name)
    instead = LEFT_OUT[namespace][name]
    assert str(caught.value) == f"buildbot.plugins.{namespace} does not have {name!r}: {instead}"
    guide = (HERE.parents[1] / "docs" / "migration.md").read_text()
    assert f"| `{namespace}.{name}` | {instead} |" in guide


def test_left_out_only() -> None:
    """The guide names no others as left out."""
    guide = (HERE.parents[1] / "docs" / "migration.md").read_text().partition("## Names that are not here")[2]
    named = {line.split("`")[1] for line in guide.partition("\n## ")[0].splitlines() if line.startswith("| `")}
    assert named == {f"{space}.{name}" for space, names in LEFT_OUT.items() for name in names}


def test_looking_for_plugins() -> None:
    """``plugins.db.get_plugins`` gives the same."""
    found = get_plugins("steps")
    assert found.get("ShellCommand") is found.ShellCommand is plugins.steps.ShellCommand
    assert "Git" in found and "Gitt" not in found and found.names == dir(plugins.steps)
    with pytest.raises(ValueError, match="there is no namespace 'stepz'; there are changes"):
        get_plugins("stepz")
    with pytest.raises(AttributeError, match="has no 'Gitt'; did you mean Git"):
        found.get("Gitt")
    with pytest.raises(TypeError, match=r"worker\.Worker does not provide IReportGenerator"):
        get_plugins("worker", IReportGenerator).get("Worker")
    assert get_plugins("worker", load_now=True).names
