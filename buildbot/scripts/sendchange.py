"""``buildbot sendchange``"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from buildbot.scripts import optionsfile
from buildbot.scripts.options import host_and_port
from buildbot.scripts.pbclient import ask, words

SYSTEMS = ("cvs", "svn", "darcs", "hg", "bzr", "git", "mtn", "p4")


#: names of ``.buildbot/options``, and the parameters whose defaults they are; ``who`` wins over ``username``
_DEFAULTS = {
    "master": "address",
    "who": "who",
    "username": "who",
    **{each: each for each in ("auth", "branch", "category", "codebase", "encoding", "project", "repository", "vc")},
}


class _WithDefaults(click.Command):
    """A command whose options have the defaults of ``.buildbot/options``."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As `click.Command.make_context`."""
        found: dict[str, str] = {}
        for name, value in optionsfile.read().items():
            if name in _DEFAULTS and value is not None:
                if not isinstance(value, str):
                    raise click.ClickException(f".buildbot/options: {name} must be a text, not {value!r}")
                if name != "username" or "who" not in found:
                    found[_DEFAULTS[name]] = value
        return super().make_context(info_name, args, parent, **{**extra, "default_map": found})


@click.command("sendchange", cls=_WithDefaults)
@click.argument("files", nargs=-1)
@click.option(
    "-m", "--master", "address", required=True, help="The address of the change source: HOST:PORT.", metavar="H:P"
)
@click.option(
    "-a", "--auth", default="change:changepw", help="USER:PASSWORD; the command asks for a password that is left out.",
    metavar="U:P",
)  # fmt: skip
@click.option("-W", "--who", required=True, help="The author of the change.")
@click.option("-R", "--repository", default="", help="The address of the repository.")
@click.option("-P", "--project", default="", help="The project.")
@click.option("-b", "--branch", help="The branch.")
@click.option("-C", "--category", help="The category.")
@click.option("--codebase", help="The codebase.")
@click.option("-r", "--revision", help="The revision.")
@click.option("--revision_file", type=click.File(), help="A file that holds the revision.")
@click.option("-p", "--property", "properties", multiple=True, help="NAME:VALUE, a property; may be repeated.")
@click.option("-c", "--comments", help="The message of the commit.")
@click.option("-F", "--logfile", type=click.File(), help="A file that holds the message; - for the standard input.")
@click.option("-w", "--when", type=float, help="The time of the change, in Unix seconds.")
@click.option("-l", "--revlink", default="", help="A link to the revision.")
@click.option("-s", "--vc", type=click.Choice(SYSTEMS), help="The version control system of the author's name.")
@click.option("-e", "--encoding", default="utf8", help="The encoding of arguments that are not in the terminal's.")
def command(
    files: Sequence[str],
    address: str,
    auth: str,
    who: str,
    repository: str,
    project: str,
    branch: str | None,
    category: str | None,
    codebase: str | None,
    revision: str | None,
    revision_file: Any,
    properties: Sequence[str],
    comments: str | None,
    logfile: Any,
    when: float | None,
    revlink: str,
    vc: str | None,
    encoding: str,
) -> None:
    """Send a change to the PBChangeSource of a master: FILES were changed.

    Defaults are in .buildbot/options, here, above or in the home directory: master, who, auth, branch and so on.
    """
    host, port = host_and_port(address)
    user, colon, password = auth.partition(":")
    if not colon:
        password = click.prompt(f"Password of {user}", hide_input=True)
    if comments is None:
        comments = logfile.read() if logfile is not None else ""
    if revision_file is not None:
        revision = revision_file.read().strip()
    change: dict[str, Any] = {
        "who": who,
        "files": list(files),
        "comments": comments,
        "branch": branch,
        "category": category,
        "revision": revision,
        "project": project,
        "repository": repository,
        "revlink": revlink,
        "when": when,
        "properties": dict(_pair(each) for each in properties),
        "src": vc,
    }
    if codebase is not None:
        change["codebase"] = codebase
    try:
        change = {name: _text(value, encoding) for name, value in change.items()}
    except (LookupError, UnicodeError) as reason:
        raise click.UsageError(f"--encoding {encoding}: {reason}") from None
    try:
        ask(host, port, user, password, "addChange", change)
    except Exception as reason:
        raise click.ClickException(f"change not sent: {words(reason)}") from None
    click.echo("change sent successfully")


def _pair(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name:
        raise click.UsageError(f"--property must be NAME:VALUE, not {given!r}")
    return name, value


def _text(value: Any, encoding: str) -> Any:
    """A value whose texts are decoded in ``encoding``, if Python could not decode them."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode(encoding) if not _is_clean(value) else value
    if isinstance(value, list):
        return [_text(each, encoding) for each in value]
    if isinstance(value, dict):
        return {_text(name, encoding): _text(each, encoding) for name, each in value.items()}
    return value


def _is_clean(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)
