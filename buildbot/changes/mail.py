"""Change sources that read mails about commits from a mail directory (maildir).

A mail becomes a change in the transaction that notes its name; then it goes from ``new`` to ``cur``. A master that is
killed between the two finds the name noted and only moves the mail, so each mail is one change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any, ClassVar

from twisted.logger import Logger

from buildbot.changes.base import PollError, PollingChangeSource
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument

_log = Logger()
#: the result of `parse`: the system of the change, and the arguments of ``addChange``
Parsed = tuple[str, dict[str, Any]]


class MaildirSource(PollingChangeSource):
    """Makes changes of mails; a subclass has a method `parse`."""

    state_class = "MaildirSource"
    positional: ClassVar[tuple[str, ...]] = ("maildir", "prefix", "category", "repository")
    maildir = argument(
        REQUIRED, checks.name, doc="the mail directory, with `new` and `cur`; relative to the master's base directory"
    )
    prefix = argument(
        None,
        checks.optional(checks.name),
        doc="""taken off the beginning of file names; files whose names do not begin so do not count, and neither do
        mails without other files""",
    )
    category = argument("", checks.text, doc="of the changes")
    repository = argument("", checks.text, doc="of the changes, where the mail does not say")
    pollInterval = 10
    name: Any = argument(
        None, checks.optional(checks.name), doc="unique among change sources; None: the class and `maildir`"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"{type(self).__name__}:{self.maildir}"

    def parse(self, m: EmailMessage, prefix: str | None = None) -> Parsed | None:
        """The system and the arguments of ``addChange`` in a mail; None if it has no change."""
        raise NotImplementedError(f"{type(self).__name__} has no parse()")

    async def poll(self) -> None:
        """Read the new mails once."""
        directory = self.master.basedir / self.maildir
        if not (directory / "new").is_dir():
            raise PollError(f"{directory} is no mail directory: it has no directory 'new'")
        (directory / "cur").mkdir(exist_ok=True)
        noted: list[str] = await self.get_position([])
        for path in sorted((directory / "new").iterdir()):
            if self.stopping:
                return
            if path.name not in noted:
                change = self.__parsed(path)
                # only the names that still exist matter
                noted = [name for name in noted if (directory / "new" / name).exists()] + [path.name]
                if change is not None:
                    await self.advance([change], noted)
            path.rename(directory / "cur" / path.name)

    def __parsed(self, path: Path) -> dict[str, Any] | None:
        try:
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            assert isinstance(message, EmailMessage)
            found = self.parse(message, self.prefix)
        except Exception:
            _log.failure("{part!r}: mail {name} cannot be read", part=self, name=path.name)
            return None
        if found is None:
            _log.info("{part!r}: no change found in maildir file {name}", part=self, name=path.name)
            return None
        given = {"category": self.category or None, "repository": self.repository, **found[1]}
        return {name: value for name, value in given.items() if value is not None}

    def below_prefix(self, files: Sequence[str], prefix: str | None) -> list[str]:
        """The files below a prefix, without it; a directory as prefix needs no slash at its end."""
        if prefix is None:
            return list(files)
        start = prefix if prefix.endswith("/") else f"{prefix}/"
        return [file.removeprefix(start) for file in files if file.startswith(start)]


def _lines(message: EmailMessage) -> list[str]:
    body = message.get_body(("plain",)) or message
    return str(body.get_content()).splitlines()


def _sender(message: EmailMessage) -> str:
    """Who sent it, by the name before the ``@``."""
    return parseaddr(str(message["from"] or ""))[1].partition("@")[0] or "unknown"


def _sent_at(message: EmailMessage) -> datetime | None:
    moment = getattr(message["date"], "datetime", None)
    return moment.astimezone(UTC) if isinstance(moment, datetime) else None


class CVSMaildirSource(MaildirSource):
    """Mails of the script ``buildbot_cvs_mail.py`` for CVS, one for each directory of a commit."""

    state_class = "CVSMaildirSource"
    positional: ClassVar[tuple[str, ...]] = ("maildir", "prefix", "category", "repository", "properties")
    properties = argument({}, checks.optional(checks.mapping), doc="of the changes")

    def parse(self, m: EmailMessage, prefix: str | None = None) -> Parsed | None:
        """The lines ``Name: value``, and the text after ``Log Message:``."""
        fields: dict[str, str] = {}
        lines = iter(_lines(m))
        for line in lines:
            if line.strip() == "Log Message:":
                break
            name, colon, value = line.partition(":")
            if colon and name in ("Cvsmode", "Category", "CVSROOT", "Files", "Path", "Project", "Tag"):
                fields[name] = value.strip().strip('"')
        files = self.below_prefix(_cvs_files(fields), prefix)
        if not files:
            return None
        moment, tag = _sent_at(m), fields.get("Tag")
        category = fields.get("Category")
        return "cvs", {
            "author": _sender(m),
            "files": files,
            "comments": "\n".join(lines).strip("\n"),
            "when_timestamp": None if moment is None else int(moment.timestamp()),
            "revision": None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S"),
            "branch": tag if tag not in (None, "", "TRUNK") else None,
            "category": category if category not in (None, "", "None") else self.category or None,
            "repository": fields.get("CVSROOT", self.repository),
            "project": fields.get("Project", ""),
            "properties": dict(self.properties or {}),
        }


def _cvs_files(fields: dict[str, str]) -> list[str]:
    """The files of a mail: CVS 1.11 puts the directory before the names, 1.12 has it in a line of its own."""
    directory, listed = fields.get("Path"), fields.get("Files", "")
    if directory is None:
        directory, _, listed = listed.partition(" ")
    names = re.findall(r"(.+?),(?:[\d.]+|NONE),(?:[\d.]+|NONE)(?:\s+|$)", listed)
    return [f"{directory}/{name}" for name in names]


class SVNCommitEmailMaildirSource(MaildirSource):
    """Mails of the hook script ``commit-email.pl`` for Subversion. It does not tell of branches."""

    state_class = "SVNCommitEmailMaildirSource"

    def parse(self, m: EmailMessage, prefix: str | None = None) -> Parsed | None:
        """``Author:``, ``New Revision:``, the text behind ``Log:``, and the lists of files, in either order."""
        author, revision = "", None
        files, comments, section = [], [], ""
        for line in _lines(m):
            if line.startswith(("====", "Modified: ", "Added: ", "Deleted: ", "Copied: ")):
                break  # the differences
            if line.strip() in ("Log:", "Modified:", "Added:", "Removed:", "Deleted:"):
                section = line.strip()
            elif line.startswith("Author: "):
                author = line.removeprefix("Author: ").strip()
            elif line.startswith("New Revision: "):
                revision = line.removeprefix("New Revision: ").strip()
            elif section == "Log:":
                comments.append(line)
            elif section and line.startswith("   ") and line.strip():
                files.append(line.strip())
        files = self.below_prefix(files, prefix)
        if revision is None or not files:
            return None
        return "svn", {
            "author": author or _sender(m),
            "files": files,
            "comments": "\n".join(comments).strip("\n"),
            "revision": revision,
        }


class BzrLaunchpadEmailMaildirSource(MaildirSource):
    """Mails of Launchpad about new revisions of a subscribed Bazaar branch."""

    state_class = "BzrLaunchpadEmailMaildirSource"
    positional: ClassVar[tuple[str, ...]] = ("maildir", "prefix", "branchMap", "defaultBranch")
    branchMap = argument(
        {}, checks.optional(checks.mapping), doc="Launchpad's branches (`lp:~owner/project/name`) and what to call them"
    )
    defaultBranch = argument(
        None, checks.optional(checks.name), doc="the branch of the other ones; None: as Launchpad calls it"
    )

    def parse(self, m: EmailMessage, prefix: str | None = None) -> Parsed | None:
        """The data of a revision in ``bzr log``."""
        path, lines = m["X-Launchpad-Branch"], _lines(m)
        found = dict(_bzr_fields(lines))
        if path is None or "revno" not in found:
            return None
        listed = [line for name in ("added", "modified", "removed", "renamed") for line in found.get(name, ())]
        files = self.below_prefix([line.split(" => ")[-1] for line in listed], prefix)
        if prefix is not None and not files:
            return None
        names = self.branchMap or {}
        address = f"lp:{path}"
        branch = names.get(address) or names.get(str(path)) or self.defaultBranch or address
        moment = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [-+]\d{4}", found.get("timestamp", [""])[0])
        return "bzr", {
            "author": (found.get("committer") or [_sender(m)])[0],
            "files": files,
            "comments": "\n".join(found.get("message", ())).strip("\n"),
            "revision": found["revno"][0].split()[0],
            "branch": branch,
            "repository": self.repository or address,
            "when_timestamp": int(datetime.strptime(moment[0], "%Y-%m-%d %H:%M:%S %z").timestamp()) if moment else None,
        }


def _bzr_fields(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """``name: value``, and ``name:`` with indented lines below it."""
    name = ""
    values: list[str] = []
    for line in lines:
        field = re.match(r"([a-z][a-z ]*): ?(.*)\Z", line)
        if field is not None:
            if name:
                yield name, values
            name, values = field[1], [field[2]] if field[2] else []
        elif line.startswith("  ") and name:
            values.append(line[2:])
        elif name and line.strip():
            yield name, values
            name, values = "", []
    if name:
        yield name, values
