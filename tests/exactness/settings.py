"""The settings of one run; each process gets them as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: the beginning of the names of builders with real agents, before the master's name, and the number of their workers
OWN = "own "
OWN_WORKERS = 2
#: the first of those workers has this number, the next master's a multiple of it
_FIRST = 100


@dataclass
class Settings:
    """One run.

    Attributes:
        url: the database.
        directory: where processes write; see ``records``.
        seed: of all that is random, besides the timing of the machine.
        broken: the mistake to make, see ``broken``; empty for none.
        expiry_s: after so many seconds a master that does not check in is declared dead.
        beat_s: how often masters check in.
        recovery_s: how long after the expiry a lost master's work may wait for others, and its return for a build.
        keep_s: how far the log of events reaches back at least; clients that come back later are told so.
        loops: how many things a master does at once.
        pace_s: the mean pause between two of them.
        ports: where each master's workers come, by its name.
    """

    url: str
    directory: str
    seed: int
    broken: str = ""
    expiry_s: int = 3
    beat_s: float = 0.5
    recovery_s: float = 10.0
    keep_s: int = 10
    loops: int = 6
    pace_s: float = 0.05
    ports: dict[str, int] = field(default_factory=dict)

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Settings:
        """The settings from the text of ``as_text``."""
        return cls(**json.loads(text))

    def first_worker(self, name: str) -> int:
        """The number of the first of a master's workers."""
        return _FIRST * (1 + list(self.ports).index(name))

    @property
    def path(self) -> Path:
        """The directory."""
        return Path(self.directory)

    @property
    def phase(self) -> str:
        """How far the run is: ``run``, ``settle`` (finish what is begun) or ``end``."""
        try:
            return (self.path / "phase").read_text()
        except FileNotFoundError:
            return "run"

    @phase.setter
    def phase(self, name: str) -> None:
        self._tell("phase", name)

    @property
    def read_at(self) -> float:
        """When the judge last began to read the log to its end, in Unix seconds; 0: it has not yet."""
        try:
            return float((self.path / "read").read_text())
        except FileNotFoundError:
            return 0.0

    @read_at.setter
    def read_at(self, moment: float) -> None:
        self._tell("read", repr(moment))

    def _tell(self, name: str, text: str) -> None:
        draft = self.path / f"{name}.new"
        draft.write_text(text)
        draft.rename(self.path / name)
