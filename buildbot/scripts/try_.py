"""``buildbot try``"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from buildbot.scripts import optionsfile
from buildbot.scripts.options import host_and_port
from buildbot.scripts.trysource import SYSTEMS, Difference, difference, top_of

#: options, and the names of ``.buildbot/options`` that are their defaults
_NAMES: dict[str, tuple[str, ...]] = {
    "connect": ("try_connect",),
    "host": ("try_host",),
    "port": ("try_port",),
    "jobdir": ("try_jobdir", "try_dir"),
    "username": ("try_username",),
    "ssh": ("try_ssh",),
    "buildbotbin": ("try_buildbotbin",),
    "master": ("try_master", "masterstatus"),
    "passwd": ("try_password",),
    "vc": ("try_vc",),
    "topdir": ("try_topdir",),
    "topfile": ("try_topfile",),
    "branch": ("try_branch",),
    "builders": ("try_builders",),
    "who": ("try_who",),
    "comment": ("try_comment",),
    "wait": ("try_wait",),
    "quiet": ("try_quiet",),
}


@click.command("try")
@click.option("-c", "--connect", type=click.Choice(["ssh", "pb"]), help="How to reach the master.")
@click.option("--host", help="The master's machine (ssh).")
@click.option("--port", type=int, help="Its port (ssh).")
@click.option("--jobdir", help="The directory of the Try_Jobdir scheduler there (ssh).")
@click.option("--ssh", help="The program that connects; default: ssh.")
@click.option("--buildbotbin", help="The program buildbot there; default: buildbot (ssh).")
@click.option("-m", "--master", help="HOST:PORT of the Try_Userpass scheduler (pb).")
@click.option("-u", "--username", help="The user to log in as.")
@click.option("--passwd", help="The password (pb); default: the command asks for it.")
@click.option("--vc", help=f"The version control system of this tree: {', '.join(SYSTEMS)}; for others give --diff.")
@click.option("--topdir", help="The top of the tree.")
@click.option("--topfile", help="A file that exists only at the top of the tree.")
@click.option("--branch", help="The branch that the tree is based on.")
@click.option("--baserev", help="The revision that the tree is based on.")
@click.option("--diff", type=click.File("rb"), help="The patch, for trees of other systems; - for standard input.")
@click.option(
    "-p", "--patchlevel", default=0, help="The number of leading directories to remove from file names in the patch."
)
@click.option("--repository", help="The address of the repository.")
@click.option(
    "-b", "--builder", "builders", multiple=True, help="A builder; may be repeated. Default: all of the scheduler."
)
@click.option("--property", "properties", multiple=True, help="NAME=VALUE, a property of the builds; may be repeated.")
@click.option("--properties", "more_properties", multiple=True, help="NAME=VALUE,NAME=VALUE, several properties.")
@click.option("-w", "--who", help="The author of the changes.")
@click.option("-C", "--comment", help="A comment on the changes.")
@click.option("--wait", is_flag=True, help="Wait for the builds (pb); exit code 1 if one does not succeed.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-n", "--dryrun", is_flag=True, help="Show the job, and send nothing.")
@click.option("--get-builder-names", is_flag=True, help="Show the builders of the scheduler (pb).")
def command(**given: Any) -> None:
    """Build this tree with its changes, before they are committed.

    The difference between the tree and the server's newest revision is sent to a Try_Jobdir scheduler (--connect=ssh)
    or a Try_Userpass scheduler (--connect=pb). Defaults are in .buildbot/options, in this directory, its parents or the
    home directory: try_connect, try_master and so on.
    """
    options = _with_defaults(given, optionsfile.read())
    if options["connect"] not in ("ssh", "pb") and not options["dryrun"]:
        raise click.UsageError("--connect must be ssh or pb")
    from buildbot.scripts import tryclient

    say = (lambda text: None) if options["quiet"] else click.echo
    if options["get_builder_names"]:
        _account(options)
        for name in tryclient.in_reactor(lambda reactor: _builders(reactor, options)):
            click.echo(name)
        return
    job = tryclient.Job(
        _tree(options),
        builders=[str(each) for each in options["builders"] or ()],
        who=options["who"],
        comment=options["comment"],
        properties=_properties(options),
    )
    if not job.difference.patch:
        raise click.ClickException("there is no patch to try: this tree does not differ from its base")
    if options["dryrun"]:
        _show(job)
    elif options["connect"] == "ssh":
        _needs(options, "ssh", "host", "jobdir")
        tryclient.by_ssh(_ssh(options), job.file())
        say("job has been delivered")
        if options["wait"]:
            say("waiting for builds with ssh is not supported")
    else:
        _account(options)
        sys.exit(tryclient.in_reactor(lambda reactor: _attempt(reactor, options, job, say)))


def _with_defaults(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options of the command line, completed from ``.buildbot/options``."""
    options = dict(given)
    for option, names in _NAMES.items():
        if options[option] in (None, False, ()):
            options[option] = next((defaults[name] for name in names if name in defaults), options[option])
    return options


def _needs(options: dict[str, Any], connect: str, *names: str) -> None:
    missing = [name for name in names if not options[name]]
    if options["connect"] != connect:
        raise click.UsageError(f"that needs --connect={connect}")
    if missing:
        raise click.UsageError(f"--connect={connect} needs --{' and --'.join(missing)}")


def _tree(options: dict[str, Any]) -> Difference:
    if options["diff"] is not None:
        patch = options["diff"].read()
        return Difference(options["branch"], options["baserev"], patch, options["patchlevel"], options["repository"])
    if options["vc"] not in SYSTEMS:
        raise click.UsageError(f"--vc must be one of {', '.join(SYSTEMS)}, or --diff must be given")
    top = top_of(Path.cwd(), options["topfile"], options["topdir"])
    found = difference(options["vc"], top, options["branch"], options["baserev"])
    if options["repository"] is None:
        return found
    return Difference(found.branch, found.revision, found.patch, found.patchlevel, options["repository"])


def _properties(options: dict[str, Any]) -> dict[str, str]:
    pairs = [*(pair for group in options["more_properties"] for pair in group.split(",")), *options["properties"]]
    properties = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"a property must be NAME=VALUE, not {pair!r}")
        properties[name] = value
    return properties


def _ssh(options: dict[str, Any]) -> Sequence[str]:
    ssh, there = options["ssh"] or "ssh", options["buildbotbin"] or "buildbot"
    start = [*(ssh if isinstance(ssh, list | tuple) else [ssh])]
    start += ["-l", options["username"]] if options["username"] else []
    start += ["-p", str(options["port"])] if options["port"] else []
    return [*start, options["host"], there, "tryserver", "--jobdir", options["jobdir"]]


def _account(options: dict[str, Any]) -> None:
    """Complete the options of a login with ``passwd`` and ``address``; click.UsageError if one is missing."""
    _needs(options, "pb", "master", "username")
    options["address"] = host_and_port(options["master"])
    if not options["passwd"]:
        options["passwd"] = click.prompt(f"Password of {options['username']}", hide_input=True)


def _client(reactor: Any, options: dict[str, Any]) -> Any:
    from buildbot.scripts.tryclient import PbClient

    return PbClient(reactor, options["address"], options["username"], options["passwd"])


async def _builders(reactor: Any, options: dict[str, Any]) -> list[str]:
    async with _client(reactor, options) as client:
        names: list[str] = await client.builders()
        return names


async def _attempt(reactor: Any, options: dict[str, Any], job: Any, say: Any) -> int:
    async with _client(reactor, options) as client:
        code: int = await client.attempt(job, options["wait"], say)
        return code


def _show(job: Any) -> None:
    tree = job.difference
    for name, value in (
        ("branch", tree.branch), ("revision", tree.revision), ("repository", tree.repository),
        ("builders", ", ".join(job.builders) or "all"), ("properties", job.properties), ("who", job.who),
        ("comment", job.comment), ("patchlevel", tree.patchlevel),
    ):  # fmt: skip
        click.echo(f"{name}: {value}")
    click.echo(f"patch:\n{tree.patch.decode(errors='replace')}")
