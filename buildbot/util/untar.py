"""Unpacks tar archives from sources that are not trusted.

Nothing is written outside the directory: names that lead out of it are refused, links are made last (so nothing is
written through one), and a link that points out of it is refused. Devices and other special files are refused. The size
of the unpacked files is limited.
"""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO, Any

#: the deepest nesting of directories
MAX_DEPTH = 100
#: the most bytes of the description of a member
_MAX_HEADER_BYTES = 1024 * 1024
_COPY_BYTES = 64 * 1024

#: the compressions of archives
COMPRESSIONS = ("gz", "bz2")


class ArchiveError(ValueError):
    """The archive is damaged, or holds a member that is refused; the message says which."""


def unpack(archive: Path, directory: Path, compression: str | None = None, max_bytes: int | None = None) -> None:
    """Unpack an archive into an empty directory.

    Args:
        archive: the archive.
        directory: the directory, which exists. After an error it holds a part.
        compression: of the archive: ``gz``, ``bz2`` or None.
        max_bytes: the limit of the unpacked files; None: no limit.

    Raises:
        ArchiveError: see there.
        OSError: a file could not be written.
    """
    with _opened(archive, compression) as file:
        try:
            _Unpacking(directory, max_bytes).take(_Bounded(file))
        except (tarfile.TarError, EOFError, gzip.BadGzipFile) as problem:
            raise ArchiveError(f"the archive is damaged: {problem}") from None
        except OSError as problem:
            if problem.errno is None:  # said by a decompressor
                raise ArchiveError(f"the archive is damaged: {problem}") from None
            raise


def _opened(archive: Path, compression: str | None) -> Any:
    if compression == "gz":
        return gzip.open(archive, "rb")
    return bz2.open(archive, "rb") if compression == "bz2" else open(archive, "rb")


class _Bounded:
    """A file that allows only small reads: descriptions of members are read as a whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise ArchiveError("the archive describes a file at immense length")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


class _Unpacking:
    """The unpacking of one archive into a directory."""

    def __init__(self, directory: Path, max_bytes: int | None) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._bytes = 0
        self._links: dict[Path, str] = {}

    def take(self, file: _Bounded) -> None:
        """Unpack all of it."""
        reading: Any = file
        with tarfile.open(fileobj=reading, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would remember all
                self._take_member(tar, member)
        for path, target in self._links.items():
            if path.is_symlink() or path.exists():
                raise ArchiveError(f"the archive has {self._shown(path)!r} twice")
            path.symlink_to(target)

    def _take_member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._path(member.name)
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            if path != self._directory:
                path.chmod(0o700 | (member.mode & 0o755))
            return
        if path == self._directory:
            raise ArchiveError(f"the archive has a file of the name {member.name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._links.pop(path, None)
        if member.issym():
            self._check_target(member, path)
            self._links[path] = member.linkname
        elif member.islnk():
            source = self._path(member.linkname)
            if not source.is_file():
                raise ArchiveError(
                    f"{member.name!r} is a link to {member.linkname!r:.200}, which is not in the archive"
                )
            if source != path:
                path.unlink(missing_ok=True)
                os.link(source, path)
        elif member.isfile():
            self._write(tar, member, path)
        else:
            raise ArchiveError(f"{member.name!r:.200} is neither a file nor a directory nor a link")

    def _path(self, name: str) -> Path:
        """The path of a name."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise ArchiveError(f"the name {name!r:.200} leads out of the directory")
        if len(parts) > MAX_DEPTH:
            raise ArchiveError(f"the name {name!r:.200} is more than {MAX_DEPTH} directories deep")
        return self._directory.joinpath(*parts)

    def _check_target(self, member: tarfile.TarInfo, path: Path) -> None:
        """Check that a link stays inside the directory, even if parts of its target are links.

        The link's own directory is a real one, so ``..`` at the beginning of the target is safe; after a name, which
        may be a link itself, it could lead elsewhere.
        """
        parts = [part for part in member.linkname.split("/") if part not in ("", ".")]
        ups = 0
        while ups < len(parts) and parts[ups] == "..":
            ups += 1
        depth = len(path.relative_to(self._directory).parts) - 1
        if member.linkname.startswith("/") or ups > depth or ".." in parts[ups:]:
            raise ArchiveError(
                f"the link {member.name!r:.200} points out of the directory, to {member.linkname!r:.200}"
            )

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        self._bytes += member.size
        if self._max_bytes is not None and self._bytes > self._max_bytes:
            raise ArchiveError(f"the archive holds more than {self._max_bytes} bytes of files")
        path.unlink(missing_ok=True)
        content = tar.extractfile(member)
        assert content is not None
        with open(path, "xb") as file:
            shutil.copyfileobj(content, file, _COPY_BYTES)
            if file.tell() != member.size:
                raise ArchiveError(f"the archive is damaged: it ends within {member.name!r:.200}")
            os.fchmod(file.fileno(), 0o600 | (member.mode & 0o755))
        if 0 <= member.mtime < 1e11:
            os.utime(path, (member.mtime, member.mtime))

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self._directory))


def move_into(source: Path, target: Path) -> None:
    """Move the files of one directory into another one, in place of files of the same names.

    Files and links are replaced, directories are joined. A link at the place of a directory is replaced as well, so
    nothing is written through one. Each file is moved as a whole.

    Raises:
        FileExistsError: there is a directory at the place of a file or link.
    """
    for entry in os.scandir(source):
        place = target / entry.name
        try:
            mode: int | None = place.lstat().st_mode
        except FileNotFoundError:
            mode = None
        if not entry.is_dir(follow_symlinks=False):
            if mode is not None and stat.S_ISDIR(mode):
                raise FileExistsError(17, "a directory is in the way", str(place))
            os.replace(entry.path, place)
            continue
        if mode is not None and stat.S_ISDIR(mode):
            move_into(Path(entry.path), place)
            continue
        if mode is not None:
            place.unlink()
        os.rename(entry.path, place)
