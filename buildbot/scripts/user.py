"""``buildbot user``"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from buildbot import usermanager
from buildbot.config import load_config
from buildbot.scripts import basedir as basedirs
from buildbot.scripts import failures, optionsfile
from buildbot.scripts.database import run_on_database
from buildbot.scripts.options import basedir_argument, host_and_port
from buildbot.scripts.pbclient import ask, words
from buildbot.secrets.ahead import db_url_now
from buildbot.util.passwords import encrypt

Attributes = list[tuple[str, str]]


class _WithDefaults(click.Command):
    """A command with the defaults of ``.buildbot/options``, unless BASEDIR is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As `click.Command.parse_args`."""
        left = super().parse_args(ctx, args)
        told = ctx.get_parameter_source("basedir") is ParameterSource.COMMANDLINE
        if ctx.params.get("address") is None and not told:
            self._take_defaults(ctx)
        return left

    def _take_defaults(self, ctx: click.Context) -> None:
        options = optionsfile.read()
        address = options.get("user_master") or (options.get("master") if options.get("user_username") else None)
        if address is None:
            return
        found = {"user_master": address, **{name: options.get(name) for name in ("user_username", "user_passwd")}}
        for name, parameter in zip(found, ("address", "manager_name", "manager_password"), strict=True):
            if found[name] is not None and not isinstance(found[name], str):
                raise click.ClickException(f".buildbot/options: {name} must be a text, not {found[name]!r}")
            ctx.params[parameter] = ctx.params.get(parameter) or found[name]


@click.command("user", cls=_WithDefaults)
@basedir_argument
@click.option(
    "-m", "--master", "address", help="HOST:PORT of a master's user manager; default: use BASEDIR's database."
)
@click.option("-u", "--username", "manager_name", help="The login of the user manager.")
@click.option("-p", "--passwd", "manager_password", help="Its password; default: the command asks for it.")
@click.option("--op", type=click.Choice(["add", "update", "remove", "get"]), required=True, help="The operation.")
@click.option("--bb_username", "username", help="Login name (add, update).")
@click.option("--bb_password", "password", help="Password for the login name; default: the command asks for it.")
@click.option("--ids", help="Identifiers of users, separated by commas (get, remove).")
@click.option("--info", "infos", multiple=True, help="[identifier:]type=value,… (add, update); once for each user.")
def command(
    basedir: str,
    address: str | None,
    manager_name: str | None,
    manager_password: str | None,
    op: str,
    username: str | None,
    password: str | None,
    ids: str | None,
    infos: Sequence[str],
) -> None:
    """Add, change, remove or show users of the master in BASEDIR, or of the master at --master.

    A user has one attribute for each version control system, for example git="Ada <ada@example.org>". The first one is
    the identifier of a new user. The master may run meanwhile.

    Defaults are in .buildbot/options, here, above or in the home directory: user_master, user_username, user_passwd.
    """
    identifiers = [part.strip() for part in (ids or "").split(",") if part.strip()]
    users = [_parsed(info, op) for info in infos]
    _check(op, identifiers, users)
    if username is not None:
        if op not in ("add", "update") or len(users) != 1:
            raise click.UsageError("--bb_username goes with --op add or update of one user")
        password = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    elif password is not None:
        raise click.UsageError("--bb_password goes with --bb_username")
    if address is None and (manager_name or manager_password):
        raise click.UsageError("--username and --passwd go with --master")
    if address is not None:
        host, port = host_and_port(address)
        if not manager_name:
            raise click.UsageError("--master needs a --username")
        manager_password = manager_password or click.prompt(f"Password of {manager_name}", hide_input=True)
        infos_sent = [dict(attributes) | ({"identifier": each} if each else {}) for each, attributes in users]
        asked = (op, username, None if password is None else encrypt(password), identifiers, infos_sent)
        _ask(host, port, manager_name, manager_password, asked)
        return
    found = basedirs.find(basedir)
    with failures.as_messages(found.path):
        db_url = db_url_now(load_config(found.path, found.settings.configfile), found.path)
    login = None if username is None or password is None else (username, password)

    async def work(master: Any) -> list[str]:
        try:
            if op == "get":
                return [await usermanager.show(master.db, identifier) for identifier in identifiers]
            if op == "remove":
                return [await usermanager.remove(master.db, identifier) for identifier in identifiers]
            return [await usermanager.write(master.db, op, *user, login) for user in users]
        except usermanager.UserError as reason:
            raise click.ClickException(str(reason)) from None

    _say(found.path, db_url, work)


def _check(op: str, identifiers: Sequence[str], users: Sequence[Any]) -> None:
    """UsageError if an operation lacks its option, or has an option of another operation."""
    needed, other = ("--ids", "--info") if op in ("get", "remove") else ("--info", "--ids")
    given = {"--ids": identifiers, "--info": users}
    if not given[needed]:
        raise click.UsageError(f"--op {op} needs {needed}")
    if given[other]:
        raise click.UsageError(f"--op {op} takes no {other}")


def _ask(host: str, port: int, name: str, password: str, asked: tuple[Any, ...]) -> None:
    try:
        said = ask(host, port, name, password, "commandline", *asked)
    except Exception as reason:
        raise click.ClickException(words(reason)) from None
    click.echo(said)


def _say(basedir: Path, db_url: str, work: Any) -> None:
    for line in run_on_database(db_url, basedir, work):
        click.echo(line)


def _parsed(info: str, op: str) -> tuple[str | None, Attributes]:
    """The identifier, if one is named, and the attributes of one ``--info``."""
    before, colon, rest = info.partition(":")
    identifier, given = (before, rest) if colon and "=" not in before else (None, info)
    if op == "update" and identifier is None:
        raise click.UsageError(f"--info {info!r}: update needs identifier:type=value")
    attributes: Attributes = []
    if op == "update" and not given.strip():  # only the login is updated
        return identifier, attributes
    for part in given.split(","):
        kind, equals, value = part.partition("=")
        if not equals or not kind.strip() or not value.strip():
            raise click.UsageError(f"--info {info!r}: {part!r} is not type=value")
        attributes.append((kind.strip(), value.strip()))
    return identifier, attributes
