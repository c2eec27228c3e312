"""The command line: ``buildbot COMMAND``. One file per command, loaded when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

import buildbot

#: command → (module, one line of help), in the order of the help
COMMANDS: Mapping[str, tuple[str, str]] = {
    "create-master": ("create_master", "Make a master in a directory, with a sample configuration."),
    "upgrade-master": ("upgrade_master", "Bring the database of a master up to date."),
    "import": ("import_database", "Import the database of a Buildbot installation."),
    "copy-db": ("copy_db", "Copy the database of a master to another one."),
    "checkconfig": ("checkconfig", "Report all mistakes in a configuration."),
    "start": ("start", "Start a master and wait until it is up."),
    "stop": ("stop", "Stop a running master."),
    "restart": ("restart", "Stop a master if it runs, and start it."),
    "container": ("container", "Run a master as the process of a container."),
    "user": ("user", "Add, change, remove or show users."),
    "sendchange": ("sendchange", "Send a change to the PBChangeSource of a master."),
    "cleanupdb": ("cleanupdb", "Free the space of removed rows of a database."),
    "dataspec": ("dataspec", "Write a description of the Data API."),
    "try": ("try_", "Build a tree with its changes before they are committed."),
    "tryserver": ("tryserver", "Receive a job of `buildbot try` over ssh."),
    "dev-proxy": ("dev_proxy", "Show the page of this machine with the data of another master."),
    "reconfig": ("reconfig", "Make a running master read its configuration again."),
}


#: other names of commands, used by scripts of existing installations
ALIASES: Mapping[str, str] = {"sighup": "reconfig"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"buildbot.scripts.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        if not any("--version" in each.opts for each in command.params):
            command.params.append(_version_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command for its line of help, which is slow
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"Tenfold version: {buildbot.__version__} (serves the interfaces of Buildbot)")
        click.echo(f"Twisted version: {version('Twisted')}")
        ctx.exit()


def _version_option() -> click.Option:
    return click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, hidden=True,
                        callback=_show_version, help="Show the version.")  # fmt: skip


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version.",
)  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, hidden=True, help="Accepted for old scripts: always so.")
def main(verbose: bool) -> None:
    """The Tenfold master: runs the builds of a continuous-integration farm.

    Exit codes: 0 success; 1 failure, the message says why; 2 the command line is wrong; 3 some rows were left out or
    differ (import, copy-db).
    """
