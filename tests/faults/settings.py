"""How long the parts of a run take, and how large the farm is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        expiry_s: after so many seconds a master that does not check in is declared dead.
        stretch_s: one measured stretch; two of them are undisturbed, before each fault.
        later_s: from the end of a fault to the beginning of the last stretch.
        scale: how long faults last, in parts of their usual length (those beyond expiry follow the expiry instead).
        workers: agents of each master.
        pause_s: how long an agent waits on average after each chunk of a step's lines: builds cost time, not this
            machine.
        rates: whether the rate afterwards counts.
    """

    expiry_s: int = 60
    stretch_s: float = 10.0
    later_s: float = 25.0
    scale: float = 1.0
    workers: int = 10
    pause_s: float = 0.4
    rates: bool = True

    #: what each step prints, and how many steps a build has
    lines = 150
    width = 80
    steps = 2
    builders = 4

    @property
    def beyond_expiry_s(self) -> float:
        """A time after which a master that said nothing has been declared dead."""
        return 1.5 * self.expiry_s
