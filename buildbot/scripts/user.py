"""``buildbot user``"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from buildbot.config import ConfigErrors, load_config
from buildbot.scripts import basedir as basedirs
from buildbot.scripts import failures
from buildbot.scripts.database import run_on_database
from buildbot.scripts.options import basedir_argument
from buildbot.secrets.ahead import db_url_now

Attributes = list[tuple[str, str]]


@click.command("user")
@basedir_argument
@click.option("--op", type=click.Choice(["add", "update", "remove", "get"]), required=True, help="What to do.")
@click.option("--bb_username", "username", help="Login name (add, update).")
@click.option("--bb_password", "password", help="Password for the login name; asked for if it is left out.")
@click.option("--ids", help="Identifiers of users, separated by commas (get, remove).")
@click.option("--info", "infos", multiple=True, help="[identifier:]type=value,… (add, update); once for each user.")
def command(
    basedir: str, op: str, username: str | None, password: str | None, ids: str | None, infos: Sequence[str]
) -> None:
    """Add, change, remove or show users of the master in BASEDIR.

    A user has one attribute for each system that knows it, for example git="Ada <ada@example.org>". The first one given
    becomes the identifier of a new user. The master may run meanwhile.
    """
    found = basedirs.find(basedir)
    identifiers = [part.strip() for part in (ids or "").split(",") if part.strip()]
    users = [_parsed(info, op) for info in infos]
    if op in ("get", "remove") and not identifiers:
        raise click.UsageError(f"--op {op} needs --ids")
    if op in ("add", "update") and not users:
        raise click.UsageError(f"--op {op} needs --info")
    if username is not None:
        if op not in ("add", "update") or len(users) != 1:
            raise click.UsageError("--bb_username goes with --op add or update of one user")
        password = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    elif password is not None:
        raise click.UsageError("--bb_password goes with --bb_username")
    try:
        db_url = db_url_now(load_config(found.path, found.settings.configfile), found.path)
    except (ConfigErrors, OSError) as reason:
        raise click.ClickException(failures.describe(reason, found.path)) from None

    async def work(master: Any) -> list[str]:
        if op == "get":
            return [await _shown(master, identifier) for identifier in identifiers]
        if op == "remove":
            return [await _removed(master, identifier) for identifier in identifiers]
        return [await _written(master, op, user, username, password) for user in users]

    _say(found.path, db_url, work)


def _say(basedir: Path, db_url: str, work: Any) -> None:
    for line in run_on_database(db_url, basedir, work):
        click.echo(line)


def _parsed(info: str, op: str) -> tuple[str | None, Attributes]:
    """The identifier, if one is named, and the attributes of one ``--info``."""
    before, colon, rest = info.partition(":")
    identifier, given = (before, rest) if colon and "=" not in before else (None, info)
    if op == "update" and identifier is None:
        raise click.UsageError(f"--info {info!r}: update needs identifier:type=value")
    attributes = []
    for part in given.split(","):
        kind, equals, value = part.partition("=")
        if not equals or not kind.strip() or not value.strip():
            raise click.UsageError(f"--info {info!r}: {part!r} is not type=value")
        attributes.append((kind.strip(), value.strip()))
    return identifier, attributes


async def _shown(master: Any, identifier: str) -> str:
    uid = await master.db.users.identifierToUid(identifier)
    user = None if uid is None else await master.db.users.getUser(uid, no_cache=True)
    if user is None:
        raise click.ClickException(f"there is no user {identifier!r}")
    # a hash is nobody's business either
    return "\n".join(f"{key}: {value}" for key, value in user.items() if key != "bb_password" and value is not None)


async def _removed(master: Any, identifier: str) -> str:
    uid = await master.db.users.identifierToUid(identifier)
    if uid is None:
        raise click.ClickException(f"there is no user {identifier!r}")
    await master.db.users.removeUser(uid)
    return f"removed {identifier}"


async def _written(
    master: Any, op: str, user: tuple[str | None, Attributes], username: str | None, password: str | None
) -> str:
    from buildbot.process.users import encrypt

    identifier, attributes = user
    users = master.db.users
    if op == "add":
        kind, value = attributes[0]
        identifier = identifier or value
        uid = await users.findUserByAttr(identifier=identifier, attr_type=kind, attr_data=value)
    else:
        uid = await users.identifierToUid(identifier)
        if uid is None:
            raise click.ClickException(f"there is no user {identifier!r}")
    try:
        for kind, value in attributes:
            await users.updateUser(uid=uid, attr_type=kind, attr_data=value)
    except ValueError as reason:
        raise click.ClickException(str(reason)) from None
    if username is not None and password is not None:
        await users.updateUser(uid=uid, bb_username=username, bb_password=encrypt(password))
    return f"{'added' if op == 'add' else 'updated'} {identifier} (uid {uid})"
