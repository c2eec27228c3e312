"""One process per master directory: a lock on the directory itself, which dies with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class BasedirBusyError(Exception):
    """Another process holds the lock of this master's directory."""


class BasedirLock:
    """An exclusive lock on a directory, inherited by the child of a fork, released when the last holder ends.

    The directory is locked, not a file in it: a crash leaves nothing behind, no file can be deleted by mistake, and a
    directory that cannot be written can be locked, too.

    Args:
        basedir: the directory, which must exist.
    """

    def __init__(self, basedir: Path) -> None:
        self.basedir = basedir
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            BasedirBusyError: another process has it.
            OSError: the directory cannot be opened.
        """
        descriptor = os.open(self.basedir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BasedirBusyError(str(self.basedir)) from None
        self._fd = descriptor

    @property
    def is_held(self) -> bool:
        """Whether this object has the lock."""
        return self._fd is not None

    def fileno(self) -> int:
        """The descriptor that holds the lock, for a child to inherit.

        Raises:
            ValueError: the lock is not held.
        """
        if self._fd is None:
            raise ValueError("the lock is not held")
        return self._fd

    def release(self) -> None:
        """Release the lock; nothing happens without it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> BasedirLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def is_locked(basedir: Path) -> bool:
    """Whether some process holds the lock now.

    Raises:
        OSError: the directory cannot be opened.
    """
    try:
        with BasedirLock(basedir):
            return False
    except BasedirBusyError:
        return True
