"""Messages for the errors of a master that cannot start, one for each known reason.

The modules of the errors are imported only when there is an error: those of the database and of the configuration take
longer to import than most commands take to run.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildbot.util.basedirlock import BasedirBusyError

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError
    from twisted.internet.error import CannotListenError


def describe(reason: BaseException, basedir: Path) -> str:
    """A message with the error and what to do about it.

    Args:
        reason: an exception of a master that starts, or of a command.
        basedir: the master's directory.
    """
    from sqlalchemy.exc import DBAPIError
    from twisted.internet.error import CannotListenError

    from buildbot.config import ConfigErrors
    from buildbot.db.dialects import InvalidURLError
    from buildbot.db.exceptions import DatabaseNotReadyError, UnknownSchemaError

    if isinstance(reason, ConfigErrors):
        return "the configuration has mistakes:\n" + "\n".join(f"  {line}" for line in reason.errors)
    if isinstance(reason, DatabaseNotReadyError):
        # repeated with the directory, so that the command can be copied
        return f"{reason}\nBring the database up to date with: buildbot upgrade-master '{basedir}'"
    if isinstance(reason, UnknownSchemaError | InvalidURLError):
        return f"{reason}. Look at db_url in master.cfg"
    if isinstance(reason, BasedirBusyError):
        return f"a master already runs in '{basedir}'; stop it with: buildbot stop '{basedir}'"
    if isinstance(reason, CannotListenError):
        return _port(reason)
    if isinstance(reason, DBAPIError):
        return _database(reason, basedir)
    if isinstance(reason, OSError):
        return _system(reason, basedir)
    log = basedir / "twistd.log"
    return f"unexpected error, {type(reason).__name__}: {reason} (the traceback is in '{log}')"


def is_expected(reason: BaseException) -> bool:
    """Whether the message of `describe` is enough, so that no traceback is needed."""
    from sqlalchemy.exc import DBAPIError
    from twisted.internet.error import CannotListenError

    from buildbot.config import ConfigErrors
    from buildbot.db.dialects import InvalidURLError
    from buildbot.db.exceptions import DatabaseNotReadyError, UnknownSchemaError

    known = (ConfigErrors, DatabaseNotReadyError, UnknownSchemaError, InvalidURLError, BasedirBusyError)
    return isinstance(reason, (*known, CannotListenError, DBAPIError, OSError))


@contextmanager
def as_messages(basedir: Path) -> Iterator[None]:
    """Turn the expected errors of a block into click.ClickException, with the message of `describe`."""
    try:
        yield
    except Exception as reason:
        if not is_expected(reason):
            raise
        raise click.ClickException(describe(reason, basedir)) from None


def _port(reason: CannotListenError) -> str:
    cause = reason.socketError
    where = f"port {reason.port}" + (f" of {reason.interface}" if reason.interface else "")
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return f"{where} is in use by another process; stop that, or set another port in master.cfg"
    if number == errno.EACCES:
        return f"{where} may not be used by this user; set one above 1023 in master.cfg"
    return f"cannot listen on {where}: {cause}"


def _database(reason: DBAPIError, basedir: Path) -> str:
    said = str(reason.orig).strip()
    if "readonly database" in said or "unable to open database file" in said:
        return (
            f"the database cannot be written ({said}); "
            f"make its file and directory (by default '{basedir}') writable for this user"
        )
    if "disk is full" in said or "No space left" in said:
        return f"the disk of the database is full ({said}); make room and start again"
    return f"the database cannot be used: {said}\nLook at db_url in master.cfg, and whether the server answers."


def _system(reason: OSError, basedir: Path) -> str:
    what = f"'{reason.filename}'" if reason.filename else f"something in '{basedir}'"
    if reason.errno == errno.ENOSPC:
        return f"the disk is full, {what} cannot be written; make room and start again"
    if reason.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what} cannot be used: {reason.strerror}; make it readable and writable for this user"
    return f"{what} cannot be used: {reason.strerror or reason}"
