"""The wall clock of a process, set by a test, while the machine's stays as it is."""

from __future__ import annotations

from pathlib import Path


def fake_time(directory: Path) -> tuple[Path, dict[str, str]] | None:
    """A file that says how far the wall clock of a process is set (``+3600``), and the environment of that process.

    None where libfaketime (Debian: libfaketime) is not installed.
    """
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        return None
    said = directory / "clock"
    said.write_text("+0\n")
    preloaded = {"LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(said)}
    return said, preloaded | {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
