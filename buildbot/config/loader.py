"""Runs a master.cfg and makes a `MasterConfig` of it, or reports all mistakes.

The file is run one top-level statement at a time. If one fails, the failure is stored and the file goes on, so that a
second mistake further down is found in the same run. The names that the failed statement would have set are missing
then. Statements that read a missing name are left out, since their failure would say nothing new. Keys that such a
statement would have filled are incomplete, and references to them are not reported. Without a mistake the effect is
that of running the file as a whole.

Modules beside the master.cfg can be imported, and are read anew each time, so that a reconfiguration sees
their changes; if it fails, the modules of the running configuration are put back.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from buildbot.config.errors import ConfigErrors, Loading, loading
from buildbot.config.master import MasterConfig
from buildbot.config.source import Effects, Source, elements, statements

#: name of the module that a master.cfg runs as
MODULE = "buildbot_master_cfg"

_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag


def load_config(basedir: Path, configfile: str = "master.cfg") -> MasterConfig:
    """Run the configuration file of a master and check it.

    Args:
        basedir: the master's directory.
        configfile: the file's name, relative to ``basedir`` or absolute.

    Returns:
        A configuration without mistakes; `MasterConfig.warnings` has the settings without effect.

    Raises:
        ConfigErrors: all mistakes, each message with file and line if they are known.
    """
    basedir = basedir.absolute()
    path = (basedir / configfile).absolute()
    text = _read(path)
    tree, flags = _parse(path, text)
    # Relative paths in a configuration start from its directory, also when `checkconfig` runs in another one.
    with contextlib.chdir(basedir), loading(path) as state, _own_modules(state) as keep:
        run = _Run(state, basedir, flags)
        run.statements(tree)
        config = run.config(Source(path.name, tree))
        keep()
        return config


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = ""
        if path.with_name(path.name + ".sample").exists():
            hint = f"; copy {path.name}.sample to {path.name} and edit it"
        raise ConfigErrors([f"configuration file '{path}' does not exist{hint}"]) from None
    except OSError as reason:
        raise ConfigErrors([f"configuration file '{path}' cannot be read: {reason.strerror}"]) from None


def _parse(path: Path, text: bytes) -> tuple[ast.Module, int]:
    """The syntax tree, and the flags of the ``from __future__`` imports that hold for all of it."""
    try:
        tree = ast.parse(text, str(path))
        # Some mistakes (`return` outside a function) are found only by compiling.
        return tree, compile(tree, str(path), "exec", dont_inherit=True).co_flags & _FUTURE
    except SyntaxError as reason:
        shown = f"\n    {reason.text.strip()}" if reason.text else ""
        raise ConfigErrors([f"{path.name}:{reason.lineno or 1}: syntax error: {reason.msg}{shown}"]) from None
    except ValueError as reason:
        raise ConfigErrors([f"{path.name}:1: syntax error: {reason}"]) from None


@contextmanager
def _own_modules(state: Loading) -> Iterator[Any]:
    """Import modules beside the file anew; put the former ones back unless the block calls its function."""

    def own() -> dict[str, ModuleType]:
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name == MODULE or state.is_own(getattr(module, "__file__", None) or "")
        }

    former = own()
    for name in former:
        del sys.modules[name]
    importlib.invalidate_caches()
    directory = str(state.configfile.parent)
    sys.path.insert(0, directory)
    finder = _Finder()
    sys.meta_path.append(finder)
    # Python trusts a cached module by its time stamp in seconds; an edit within the same second would be missed.
    wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    kept: list[bool] = []
    try:
        yield lambda: kept.append(True)
    finally:
        sys.dont_write_bytecode = wrote
        sys.meta_path.remove(finder)
        if directory in sys.path:
            sys.path.remove(directory)
        if not kept:
            for name in own():
                del sys.modules[name]
            sys.modules.update(former)


class _Finder(MetaPathFinder, Loader):
    """Finds the running configuration as a module, so that it can reload every module beside it, itself included."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the configuration's own name; None for other names."""
        return ModuleSpec(MODULE, self) if fullname == MODULE else None

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


class _Run:
    """One run of a configuration file."""

    def __init__(self, state: Loading, basedir: Path, flags: int) -> None:
        self.state = state
        self.flags = flags
        self.module = ModuleType(MODULE)
        self.module.__file__ = str(state.configfile)
        self.names: dict[str, Any] = self.module.__dict__
        self.names["basedir"] = str(basedir)
        self.basedir = basedir
        #: names that a failed statement would have bound, and names with incomplete values
        self.missing: set[str] = set()
        self.partial: set[str] = set()
        self.incomplete_keys: set[str] = set()
        #: reported messages about missing attributes
        self.attributes: set[str] = set()
        # Classes defined in the file need their module by name.
        sys.modules[MODULE] = self.module

    def statements(self, tree: ast.Module) -> None:
        """Run all statements, and store failures."""
        for statement, module in statements(tree):
            if self.missing or self.partial:
                effects = Effects(statement)
                if effects.reads & self.missing:
                    self._failed(effects)
                    continue
                if effects.reads & self.partial:
                    self.partial |= effects.binds
                    self.incomplete_keys |= effects.keys
            try:
                exec(compile(module, str(self.state.configfile), "exec", self.flags, True), self.names)
            except (Exception, SystemExit) as reason:
                self._note(reason, statement)
                if not isinstance(reason, SystemExit):
                    self._look_at_elements(statement)
                self._failed(Effects(statement))

    def _note(self, reason: BaseException, where: ast.stmt | ast.expr) -> None:
        """Store a failure, unless it follows from an earlier one."""
        if isinstance(reason, ConfigErrors):
            self.state.errors.merge(reason)
        elif not self._follows(reason):
            self.state.errors.addError(self._describe(reason, where.lineno))

    def _follows(self, reason: BaseException) -> bool:
        """Whether a failure says nothing new: its cause is an earlier failure, or it is the same one."""
        if isinstance(reason, NameError):
            return reason.name in self.missing
        if isinstance(reason, KeyError):
            return bool(reason.args) and reason.args[0] in self.incomplete_keys
        if isinstance(reason, AttributeError):
            # a name that is missing in a namespace is often used on many lines
            known = str(reason) in self.attributes
            self.attributes.add(str(reason))
            return known
        return False

    def _look_at_elements(self, node: ast.AST) -> None:
        """Find the mistakes of the other elements, too, if one element of a list made its statement fail."""
        for element in elements(node):
            if Effects(element).reads & (self.missing | self.partial):
                continue
            try:
                # the copy has the same lines, so that the place of the mistake is known
                code = compile(ast.Expression(element), str(self.state.configfile), "eval", self.flags, True)
                eval(code, self.names)
            except Exception as reason:
                self._note(reason, element)
                self._look_at_elements(element)

    def _failed(self, effects: Effects) -> None:
        # Names that were bound before stay usable, except those that this statement binds.
        self.missing |= effects.binds - {"c", "BuildmasterConfig"}
        self.partial |= effects.changes - {"c", "BuildmasterConfig"}
        self.incomplete_keys |= effects.keys

    def _describe(self, reason: BaseException, line: int) -> str:
        if isinstance(reason, SyntaxError) and reason.filename:
            return f"{self.state.place(reason.filename, reason.lineno or 1)}: syntax error: {reason.msg}"
        frames = traceback.extract_tb(reason.__traceback__)
        own = [frame for frame in frames if self.state.is_own(frame.filename)]
        place = self.state.place(own[-1].filename, own[-1].lineno or line) if own else f"line {line}"
        what = f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__
        if isinstance(reason, SystemExit):
            what = f"the file ends the process (SystemExit: {reason.code})"
        elif isinstance(reason, ImportError) and type(reason) is not ModuleNotFoundError:
            what = str(reason)
        return f"{place}: {_in_terms_of_configurations(what)}"

    def config(self, source: Source) -> MasterConfig:
        """The configuration that the file has made.

        Raises:
            ConfigErrors: failures while it ran, and mistakes in the configuration.
        """
        errors = self.state.errors
        values = self.names.get("BuildmasterConfig")
        config: MasterConfig | None = None
        if values is None:
            if not errors:
                errors.addError(
                    f"{source.filename}: does not define BuildmasterConfig; begin with c = BuildmasterConfig = {{}}"
                )
        elif not isinstance(values, dict):
            errors.addError(f"{source.filename}: BuildmasterConfig must be a dictionary, not {type(values).__name__}")
        else:
            try:
                config = MasterConfig.from_values(values, self.basedir, source, self.incomplete_keys)
            except ConfigErrors as more:
                errors.merge(more)
        if errors or config is None:
            raise errors
        return config


def _in_terms_of_configurations(what: str) -> str:
    """Python's messages of the commonest mistakes, in terms of a configuration."""
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", what)
    if match:
        return f"{match[1]} has no argument {match[2]!r}"
    match = re.search(r"(\w+)\.__init__\(\) missing \d+ required (?:positional |keyword-only )*arguments?: (.*)", what)
    if match:
        return f"{match[1]} needs {match[2]}"
    return what
