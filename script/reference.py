"""Write docs/reference/ from docstrings and declarations, and docs/specification.md from the contract tests.

.venv/bin/python script/reference.py            write the pages
.venv/bin/python script/reference.py --check    exit with 1 if they are not what the code says
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from buildbot.config.arguments import arguments_of, documented  # noqa: E402
from buildbot.config.hooks import DIALECTS  # noqa: E402
from buildbot.data.connector import DataConnector  # noqa: E402
from buildbot.data.updates import Updates  # noqa: E402
from buildbot.db.base import DBConnectorComponent  # noqa: E402
from buildbot.db.connector import DBConnector  # noqa: E402
from buildbot.db.pool import DBThreadPool  # noqa: E402
from buildbot.machine import generic  # noqa: E402
from buildbot.machine.base import Machine  # noqa: E402
from buildbot.machine.latent import AbstractLatentMachine  # noqa: E402
from buildbot.mq.connector import MQConnector  # noqa: E402
from buildbot.plugins import NAMESPACES, steps, util  # noqa: E402
from buildbot.resources import RESOURCES  # noqa: E402
from buildbot.resources.base import Field, Resource  # noqa: E402
from buildbot.statistics import capture  # noqa: E402
from buildbot.statistics.stats_service import StatsService  # noqa: E402
from buildbot.statistics.storage_backends.influxdb_client import InfluxStorageService  # noqa: E402
from buildbot.worker.upcloud import UpcloudLatentWorker  # noqa: E402

NOTE = "<!-- made by script/reference.py; change the docstrings instead -->\n"


def pages() -> dict[str, str]:
    """The text of each page by its path below docs."""
    made = {
        "specification.md": _promises(),
        "reference/kinds.md": _kinds(),
        "reference/database.md": _classes("The database layer", [DBConnector, DBThreadPool, *_components()]),
        "reference/data.md": _classes("The Data API", [DataConnector, Updates]),
        "reference/mq.md": _classes("The message queue", [MQConnector]),
        "reference/nouns.md": f"{NOTE}# Nouns of the Data API\n\n" + "\n".join(map(_noun, RESOURCES)),
    }
    return {name: text.rstrip() + "\n" for name, text in made.items()}


#: of `buildbot.machine.generic`
MACHINES = (
    "GenericLatentMachine", "LocalWakeAction", "LocalWOLAction", "SshAction", "RemoteSshWakeAction",
    "RemoteSshWOLAction", "RemoteSshSuspendAction", "HttpAction",
)  # fmt: skip

_KINDS = """# Steps, schedulers, change sources, workers, reporters, secrets, machines, figures, hooks, logins

Every argument that a configuration may give, made from the declarations in the code. Arguments of base classes are
listed with the base class. `docs/configuration.md` has the keys of `master.cfg` itself.
"""


def _kinds() -> str:
    """The declared arguments of all kinds that configurations name, and of their base classes."""
    parts = [NOTE.replace("the docstrings", "the declarations") + _KINDS]
    for room, modules in (
        *((name, "") for name in ("steps", "schedulers", "changes", "worker", "reporters", "secrets")),
        ("util", "buildbot.www"),
    ):
        namespace = NAMESPACES[room]
        named = {name: getattr(namespace, name) for name in dir(namespace)}
        aliases = {name: each for name, each in named.items() if isinstance(each, type) and each.__name__ != name}
        kinds = {each for each in named.values() if isinstance(each, type) and arguments_of(each)}
        kinds = {each for each in kinds if each.__module__.startswith(modules)}
        bases = {base for each in kinds for base in each.__mro__ if any(documented(base))} - kinds
        parts.append(f"## {room}\n" if not modules else "## Of the web server (util)\n")
        for kind in sorted(kinds | bases, key=lambda each: (each in kinds, each.__name__)):
            parts.append(_kind(kind))
        if not modules:
            parts += [f"### {name}\n\nThe same as {kind.__name__}.\n" for name, kind in sorted(aliases.items())]
        plain = {name: each for name, each in named.items() if isinstance(each, type) and not arguments_of(each)}
        plain = {name: each for name, each in plain.items() if each.__module__.startswith(modules)}
        parts += [_plain(name, each) for name, each in sorted(plain.items()) if name not in aliases]
    parts.append(f"## Workers that are no plugins\n\nIn `buildbot.worker.upcloud`.\n\n{_kind(UpcloudLatentWorker)}")
    parts.append("## util\n")
    parts += _util()
    parts.append("## machines\n\nIn `buildbot.machine`: `base`, `latent` and `generic`.\n")
    parts += [_kind(kind) for kind in (Machine, AbstractLatentMachine, *(getattr(generic, name) for name in MACHINES))]
    parts.append("## statistics\n\nIn `buildbot.statistics`: `stats_service`, `capture`, `storage_backends`.\n")
    captures = [getattr(capture, name) for name in capture.__all__ if name.startswith("Capture")]
    figures = (StatsService, InfluxStorageService, *(each for each in captures if issubclass(each, capture.Capture)))
    parts += [_kind(kind) for kind in figures]
    parts.append("## webhooks\n\nOptions of the dialects in `c['www']['change_hook_dialects']`.\n")
    for name, options in DIALECTS.items():
        lines = [line for base in reversed(options.__mro__) for line in documented(base)]
        parts.append("\n".join([f"### {name}\n", *lines, ""]))
    return "\n".join(parts)


def _util() -> Iterator[str]:
    """What `buildbot.plugins.util` has beside the ways to log in."""
    names = ", ".join(f"`{name}` ({number})" for number, name in enumerate(each.upper() for each in util.Results))
    yield f"### Results\n\nThe names of results, by their numbers: {names}. Each is a name of `util`, too.\n"
    for prefix, namespace in (("", util), ("repo.", util.repo), ("svn.", util.svn)):
        for name in dir(namespace):
            value = getattr(namespace, name)
            if isinstance(value, type) and (value.__module__.startswith("buildbot.www") or name in dir(steps)):
                continue
            if isinstance(value, type) and arguments_of(value):
                yield _kind(value)
            elif isinstance(value, type) or inspect.isfunction(value):
                yield _plain(prefix + name, value)
            elif name == "URLForBuild":
                yield f"### {name}\n\n{_text(type(value))}\n"


def _plain(name: str, thing: Any) -> str:
    """A class or function whose arguments its docstring explains."""
    signature = inspect.signature(thing)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    shown = f"`{name}{inspect.Signature(parameters)}`"
    return f"### {name}\n\n{shown if ' at 0x' not in shown else ''}\n\n{_text(thing)}\n"


def _kind(kind: type) -> str:
    above = [base.__name__ for base in kind.__mro__[1:] if any(documented(base))]
    also = f" Further arguments: those of {', '.join(above)}." if above else ""
    lines = list(documented(kind))
    heading = ["**Arguments**", ""] if lines else []
    return "\n".join([f"### {kind.__name__}\n", f"{_text(kind)}{also}\n", *heading, *lines, ""])


_PROMISES = """# What is promised, and the test that holds it

The database layer and the Data API keep the promises of Buildbot's documentation of both, in the places where it is
silent or contradicts itself as the sentences below say. Each line is a promise and the test that holds it, on SQLite,
PostgreSQL, MariaDB and the fake in memory. `tests/unit/db/test_signatures.py` holds names, arguments, defaults and
order of all methods; [reference/](reference/) has the methods themselves.
"""


def _promises() -> str:
    parts = [NOTE.replace("the docstrings", "the tests' docstrings") + _PROMISES]
    for path in sorted((ROOT / "tests" / "contract").glob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        tests = [each for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        rows = [
            f"| {_one_line(ast.get_docstring(test))} | `{test.name}` |"
            for test in tests
            if test.name.startswith("test_")
        ]
        title = f"## tests/contract/{path.name}\n\n{ast.get_docstring(module)}\n"
        parts.append("\n".join([title, "| promise | test |", "| --- | --- |", *rows, ""]))
    return "\n".join(parts)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _components() -> list[type]:
    return sorted(DBConnectorComponent.__subclasses__(), key=lambda cls: cls.__name__)


def _classes(title: str, classes: list[type]) -> str:
    parts = [f"{NOTE}# {title}\n"]
    for cls in classes:
        parts.append(f"## {cls.__name__}\n\n{_text(cls)}\n")
        parts += [_method(name, method) for name, method in _methods(cls)]
    return "\n".join(parts)


def _methods(cls: type) -> list[tuple[str, Any]]:
    found = {}
    for base in reversed(cls.__mro__[:-1]):
        for name, value in vars(base).items():
            if not name.startswith(("_", "thd")) and callable(value) and not isinstance(value, type):
                found[name] = value
    return list(found.items())


def _method(name: str, method: Any) -> str:
    signature = inspect.signature(method)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    shown = str(inspect.Signature(parameters)).replace("<object object", "<no value")
    return f"### {name}{shown.split(' at 0x')[0] + '>)' if ' at 0x' in shown else shown}\n\n{_text(method)}\n"


def _text(thing: Any) -> str:
    """A docstring as Markdown: its sections become lists, since their lines belong together."""
    lines = []
    section = ""
    for line in (inspect.getdoc(thing) or "").replace("``", "`").split("\n"):
        if line in ("Args:", "Returns:", "Raises:", "Attributes:"):
            section = line
            lines += [f"**{line[:-1]}**", ""]
        elif section == "Returns:" and line.startswith("    "):
            lines.append(line.strip())
        elif section and line.startswith("    ") and not line.startswith("     "):
            lines.append(f"- {line.strip()}")
        elif section and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            section = "" if line.strip() else section
            lines.append(line)
    return "\n".join(lines).strip()


def _noun(noun: Resource) -> str:
    lines = [f"## {noun.name}", "", noun.doc, "", "| attribute | kind | meaning |", "| --- | --- | --- |"]
    for name, attribute in noun.fields.items():
        other = f"; in the connector `{attribute.db_key}`" if isinstance(attribute, Field) and attribute.db_key else ""
        lines.append(f"| `{name}` | {noun.kind(name)} | {attribute.doc}{other} |")
    lines += ["", "Paths: " + ", ".join(f"`/{path.pattern}`" for path in noun.paths) + "."]
    if noun.events:
        keys = ", ".join(f"`{key}/…`" for key in noun.events)
        lines += ["", f"Events: {', '.join(f'`{name}`' for name in noun.event_names)}, under {keys}."]
    if noun.links:
        lines += ["", "Links: " + ", ".join(f"`{name}` → `/{link.path}`" for name, link in noun.links.items()) + "."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    directory = ROOT / "docs"
    stale = []
    for name, text in pages().items():
        path = directory / name
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                stale.append(name)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        print(f"docs: not what the code says: {', '.join(stale)}; run script/reference.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
