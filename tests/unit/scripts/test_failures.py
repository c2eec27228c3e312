"""Known errors have one message each, with a remedy."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from twisted.internet.error import CannotListenError

from buildbot.config import ConfigErrors
from buildbot.db.dialects import InvalidURLError
from buildbot.db.exceptions import DatabaseNotReadyError
from buildbot.scripts.failures import describe, is_expected
from buildbot.util.basedirlock import BasedirBusyError

BASE = Path("/srv/ci")


def system(number: int, filename: str | None = "/srv/ci/twistd.log") -> OSError:
    """An error of the operating system."""
    return OSError(number, os.strerror(number), filename)


def database(message: str) -> OperationalError:
    """An error of the database driver, with a statement that users need not see."""
    return OperationalError("SELECT secret", {}, sqlite3.OperationalError(message))


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (ConfigErrors(["a", "b"]), "the configuration has mistakes:\n  a\n  b"),
        (
            DatabaseNotReadyError("the schema is old"),
            "the schema is old\nBring the database up to date with: buildbot upgrade-master '/srv/ci'",
        ),
        (InvalidURLError("the database has no room"), "the database has no room. Look at db_url in master.cfg"),
        (
            BasedirBusyError("/srv/ci"),
            "a master already runs in '/srv/ci'; stop it with: buildbot stop '/srv/ci'",
        ),
        (
            CannotListenError("127.0.0.1", 8010, system(errno.EADDRINUSE, None)),
            "port 8010 of 127.0.0.1 is in use by another process; stop that, or set another port in master.cfg",
        ),
        (
            CannotListenError("", 80, system(errno.EACCES, None)),
            "port 80 may not be used by this user; set one above 1023 in master.cfg",
        ),
        (
            CannotListenError("10.9.9.9", 80, system(errno.EADDRNOTAVAIL, None)),
            "cannot listen on port 80 of 10.9.9.9: [Errno 99] Cannot assign requested address",
        ),
        (
            database("attempt to write a readonly database"),
            "the database cannot be written (attempt to write a readonly database); "
            "make its file and directory (by default '/srv/ci') writable for this user",
        ),
        (
            database("database or disk is full"),
            "the disk of the database is full (database or disk is full); make room and start again",
        ),
        (
            database("no such host"),
            "the database cannot be used: no such host\nLook at db_url in master.cfg, and whether the server answers.",
        ),
        (
            system(errno.ENOSPC),
            "the disk is full, '/srv/ci/twistd.log' cannot be written; make room and start again",
        ),
        (
            system(errno.EROFS),
            "'/srv/ci/twistd.log' cannot be used: Read-only file system; make it readable and writable for this user",
        ),
        (
            system(errno.EACCES, None),
            "something in '/srv/ci' cannot be used: Permission denied; make it readable and writable for this user",
        ),
    ],
)
def test_known(reason: Exception, message: str) -> None:
    """The message of a known error needs no traceback."""
    assert describe(reason, BASE) == message
    assert is_expected(reason)


def test_unknown() -> None:
    """An unforeseen error is named, with the place of its traceback."""
    reason = ZeroDivisionError("oops")
    assert describe(reason, BASE) == (
        "unexpected error, ZeroDivisionError: oops (the traceback is in '/srv/ci/twistd.log')"
    )
    assert not is_expected(reason)
