"""Collection of garbage in the process of a master, without long pauses.

Python's collector looks through all objects of a process now and then, which stops a master for a tenth of a second and
more. Nearly all of them are modules, classes and the configuration, which stay. They are set aside when the master is
up; see ``docs/decisions/0015-objects-that-stay.md``.
"""

from __future__ import annotations

import gc

#: new objects until the youngest are looked through: those of some twenty builds, which have ended mostly by the time
#: of the next generation
YOUNG = 5000


def set_aside() -> None:
    """Collect garbage; then let later collections pass over all objects that there are now, and be rarer."""
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()


def collect() -> None:
    """Collect garbage among all objects, those that were set aside too; then set aside again, if any were."""
    if not gc.get_freeze_count():
        gc.collect()
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()
