"""Files on the master's disk that agents write and read.

A file is written beside its place under another name, and moved when it is complete: a partial file never has the final
name.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import IO

from buildbot.process.workers.transfers import Reader, Writer
from buildbot.util.untar import move_into, unpack


def _beside(path: Path) -> Path:
    """A temporary name for ``path``, in the same directory."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")


class FileWriter(Writer):
    """Takes a file.

    Args:
        path: its place; missing directories are made.
        max_bytes: its largest size; None: no limit.
        mode: its permission bits; None: as the master makes files.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, path: Path, max_bytes: int | None = None, mode: int | None = None) -> None:
        super().__init__(max_bytes)
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mode = mode
        self._part: Path | None = _beside(path)
        self._file: IO[bytes] = open(self._part, "xb")  # noqa: SIM115  # `commit` and `abort` close it

    def _take(self, data: bytes) -> None:
        self._file.write(data)

    def commit(self) -> None:
        """Move it to its place. OSError if that cannot be done; `abort` then removes it."""
        assert self._part is not None
        self._file.close()
        if self._mode is not None:
            self._part.chmod(self._mode)
        if self.times is not None:
            os.utime(self._part, self.times)
        os.replace(self._part, self.path)
        self._part = None

    def abort(self) -> None:
        """Remove the temporary file, unless it is in its place already."""
        self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None


class DirectoryWriter(Writer):
    """Takes a directory, as an archive.

    Args:
        path: its place. Files that are there already stay, unless the archive has files of the same names.
        compression: of the archive: ``gz``, ``bz2`` or None.
        max_bytes: the largest size of the archive, and of its content unpacked; None: no limit.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, path: Path, compression: str | None = None, max_bytes: int | None = None) -> None:
        super().__init__(max_bytes)
        self.path = Path(os.path.realpath(path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._compression = compression
        self._part = _beside(self.path)
        self._file: IO[bytes] = open(self._part, "xb")  # noqa: SIM115  # `commit` and `abort` close it
        self._unpacked = _beside(self.path)

    def _take(self, data: bytes) -> None:
        self._file.write(data)

    def commit(self) -> None:
        """Unpack it and move it to its place; may take long.

        Raises:
            ArchiveError: it is not an archive that may be unpacked; nothing is in its place.
            OSError: a file cannot be written, or moved to its place.
        """
        self._file.close()
        self._unpacked.mkdir()
        unpack(self._part, self._unpacked, self._compression, self.max_bytes)
        self.path.mkdir(exist_ok=True)
        move_into(self._unpacked, self.path)

    def abort(self) -> None:
        """Remove the temporary files."""
        self._file.close()
        self._part.unlink(missing_ok=True)
        if self._unpacked.exists():
            shutil.rmtree(self._unpacked)


class FileReader(Reader):
    """Gives a file.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115  # `done` closes it

    def _give(self, size: int) -> bytes:
        return self._file.read(size)

    def done(self) -> None:
        """Close the file."""
        self._file.close()
