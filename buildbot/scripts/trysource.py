"""The source tree of `buildbot try`: its base revision, and the patch against that."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import click

#: version control systems whose trees the command can read; for others the patch must be given
SYSTEMS = ("git", "hg", "svn")


@dataclass(frozen=True)
class Difference:
    """The difference between a tree and its base, the newest revision that the server has.

    Attributes:
        branch, revision: the base; None: the default branch, its newest revision.
        patch: the difference in the unified format.
        patchlevel: the number of leading directories to remove from file names in the patch.
        repository: the address of the repository; None: it is not known.
    """

    branch: str | None
    revision: str | None
    patch: bytes
    patchlevel: int
    repository: str | None


def top_of(start: Path, topfile: str | None, topdir: str | None) -> Path:
    """The directory that the patch is relative to.

    Raises:
        click.ClickException: no directory has the file ``topfile``.
    """
    if topdir is not None:
        return Path(topdir).expanduser().absolute()
    if topfile is None:
        return start
    for directory in (start, *start.parents):
        if (directory / topfile).exists():
            return directory
    raise click.ClickException(f"there is no file {topfile!r} in this directory or its parents (--topfile)")


def difference(system: str, top: Path, branch: str | None, baserev: str | None) -> Difference:
    """The difference between a tree and its base.

    Args:
        system: one of `SYSTEMS`.
        top: the top of the tree.
        branch, baserev: the base; None: the system says.

    Raises:
        click.ClickException: there is no such tree, the program is missing, or the base cannot be found out.
    """
    return {"git": _git, "hg": _hg, "svn": _svn}[system](top, branch, baserev)


def _output(top: Path, *command: str) -> bytes:
    try:
        done = subprocess.run(command, cwd=top, capture_output=True, check=False)
    except FileNotFoundError:
        raise click.ClickException(f"{command[0]} is not installed, or there is no directory '{top}'") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise click.ClickException(f"{' '.join(command)}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _line(top: Path, *command: str) -> str | None:
    """The one line that a command prints; None if it fails."""
    try:
        return _output(top, *command).decode(errors="replace").strip() or None
    except click.ClickException:
        return None


def _git(top: Path, branch: str | None, baserev: str | None) -> Difference:
    top = Path(_output(top, "git", "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    upstream = _line(top, "git", "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
    remote = (_line(top, "git", "config", f"branch.{_line(top, 'git', 'branch', '--show-current')}.remote")) or "origin"
    if branch is None and upstream is None and baserev is None:
        raise click.ClickException(
            "the current branch has no upstream, so its base is not known: give --branch, or set an upstream with "
            "git branch --set-upstream-to"
        )
    if baserev is None:
        base = upstream if branch is None else f"{remote}/{branch}"
        if _line(top, "git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}") is None:
            base = branch  # a branch of this repository
        baserev = _output(top, "git", "merge-base", "HEAD", str(base)).decode().strip()
    else:
        baserev = _output(top, "git", "rev-parse", "--verify", f"{baserev}^{{commit}}").decode().strip()
    if branch is None and upstream is not None:
        branch = upstream.removeprefix(f"{remote}/")
    patch = _output(
        top, "git", "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/",
        "--dst-prefix=b/", baserev,
    )  # fmt: skip
    return Difference(branch, baserev, patch, 1, _line(top, "git", "config", f"remote.{remote}.url"))


def _hg(top: Path, branch: str | None, baserev: str | None) -> Difference:
    top = Path(_output(top, "hg", "root").decode().rstrip("\n"))
    wanted = baserev or "max(ancestors(.) and public())"
    baserev = _output(top, "hg", "log", "-r", wanted, "--template", "{node}").decode().strip()
    if not baserev:
        raise click.ClickException("no ancestor of this changeset is public: give --baserev, or push")
    branch = branch or _line(top, "hg", "branch")
    patch = _output(top, "hg", "diff", "--git", "-r", baserev)
    return Difference(branch, baserev, patch, 1, _line(top, "hg", "paths", "default"))


def _svn(top: Path, branch: str | None, baserev: str | None) -> Difference:
    top = Path(_output(top, "svn", "info", "--show-item", "wc-root", ".").decode().rstrip("\n"))
    mine = _output(top, "svn", "info", "--show-item", "revision", ".").decode().strip()
    patch = _output(top, "svn", "diff", *([] if baserev is None else ["-r", baserev]))
    return Difference(branch, baserev or mine, patch, 0, _line(top, "svn", "info", "--show-item", "url", "."))
