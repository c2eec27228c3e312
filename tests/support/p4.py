"""A program in the place of p4, which is not free software. Its answers are recorded ones of p4."""

from __future__ import annotations

from pathlib import Path

_SCRIPT = """#!/bin/sh
cd {directory}
echo "$*" >> calls
echo "$P4PASSWD" >> passwords
case "$*" in
  *"-V") echo "Perforce - The Fast Software Configuration Management System."; exit 0;;
  *" login"|login) cat > login; exit 0;;
  *"client -i") cat > client; echo "Client saved."; exit 0;;
  *"-ztag changes"*) cat head; exit 0;;
  *"changes "*) cat changes; exit 0;;
  *"describe -s "*) cat "describe-${{@: -1}}"; exit 0;;
  *"sync #none") exit 0;;
  *sync*) test -e broken && {{ echo "Perforce client error: connect failed." >&2; exit 1; }}
          echo synced; exit 0;;
esac
echo "unknown: $*" >&2; exit 1
"""


class Perforce:
    """The program, `path`, and its arguments at each call, `calls`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory, self.path = directory, directory / "p4"
        self.path.write_text(_SCRIPT.replace("#!/bin/sh", "#!/bin/bash").format(directory=directory))
        self.path.chmod(0o755)
        self.says("changes", "")
        self.says("head", "... change 17\n... time 1\n")

    def says(self, name: str, text: str) -> None:
        """Set the answer to a question."""
        (self.directory / name).write_text(text)

    def got(self, name: str) -> str:
        """The standard input of a command."""
        return (self.directory / name).read_text()

    @property
    def passwords(self) -> list[str]:
        """The variable P4PASSWD at each call; empty if it was not set."""
        return (self.directory / "passwords").read_text().splitlines()

    @property
    def calls(self) -> list[str]:
        calls = self.directory / "calls"
        return calls.read_text().splitlines() if calls.exists() else []
