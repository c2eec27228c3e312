"""``buildbot dataspec``"""

from __future__ import annotations

import json
from typing import Any

import click

from buildbot.scripts.options import quiet_option


@click.command("dataspec")
@click.option(
    "-o",
    "--out",
    default="dataspec.json",
    show_default=True,
    metavar="FILE",
    help="The file to write; - for standard output.",
)
@click.option("-g", "--global", "name", metavar="NAME", help="Write a script that sets this global variable.")
@quiet_option
def command(out: str, name: str | None, quiet: bool) -> None:
    """Write a description of the Data API as JSON: each path, with the fields of its resources.

    It equals /api/v2/application.spec. A description in the OpenAPI format is /api/v2/openapi.json.
    """
    if name is not None and not name.isidentifier():
        raise click.BadParameter(f"{name!r} is no name of a variable", param_hint="--global")
    text = json.dumps(described(), indent=2)
    with click.open_file(out, "w", encoding="utf-8") as file:
        file.write(f"{text}\n" if name is None else f"window.{name} = {text};\n")
    if not quiet and out != "-":
        click.echo(f"written to {out}")


def described() -> list[dict[str, Any]]:
    """The paths of the Data API, in the form of ``application.spec``."""
    # imported here: the nouns would make the help of other commands slow
    from buildbot.data.endpoints import Endpoints
    from buildbot.db.connector import DBConnector

    # the paths depend on no database, so none is opened
    endpoints = Endpoints(DBConnector.__new__(DBConnector)).all
    return [
        {"path": each.path.pattern, "type": each.name, "plural": each.plural, "type_spec": each.type_spec}
        for each in sorted(endpoints, key=lambda each: each.path.pattern)
    ]
