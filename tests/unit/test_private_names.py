"""Names of the product's own never meet those of users' subclasses."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from typing import Any

import pytest

from buildbot.changes.gitpoller import GitPoller
from buildbot.plugins import changes, reporters, schedulers, secrets, steps, util, worker
from buildbot.process.build import Build
from buildbot.process.factory import BuildFactory

#: classes that users inherit from, by the module that has them
_KINDS = (
    "buildbot.changes",
    "buildbot.process.commandmixin",
    "buildbot.process.logobserver",
    "buildbot.process.shellmixin",
    "buildbot.process.step",
    "buildbot.process.stepdescription",
    "buildbot.reporters",
    "buildbot.schedulers",
    "buildbot.secrets",
    "buildbot.steps",
    "buildbot.worker",
    "buildbot.www",
)
#: private by their names in Buildbot, but what steps and reporters of users call
_CALLED = ("_dovccmd", "_http")
CLASSES = [
    Build,
    BuildFactory,
    *(
        value
        for namespace in (changes, reporters, schedulers, secrets, steps, util, worker)
        for name in dir(namespace)
        if isinstance(value := getattr(namespace, name), type) and value.__module__.startswith(_KINDS)
    ),
]


@cache
def own_names(cls: type) -> set[str]:
    """The names that begin with one underscore, which a class of ours defines or sets on its instances."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls)))
    found = {name for name in vars(cls) if re.match(r"_[a-z]", name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id == "self" and re.match(r"_[a-z]", node.attr) else set()
    return found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_private_names_are_those_of_one_class(cls: type) -> None:
    """What is private has two underscores, which Python joins with the class's name: a subclass may call its own
    methods and attributes what it likes."""
    for base in cls.__mro__:
        if base.__module__.startswith("buildbot."):
            assert own_names(base) <= {"_abc_impl", *_CALLED}, base


def test_a_subclass_with_names_of_its_own() -> None:
    """As one has been seen: a poller with a method that the product once had too."""

    class Poller(GitPoller):
        def _check_branches(self, wanted: Any) -> Any:
            raise AssertionError("nobody but the subclass calls this")

        def _poll(self) -> None:
            raise AssertionError("nobody but the subclass calls this")

    poller = Poller("repository", branches=["b", "a"])
    poller._timer = poller._polling = poller._git = "mine"  # type: ignore[attr-defined]
    assert poller.branches == ["b", "a"]
