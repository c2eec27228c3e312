"""The garbage collector in the process of a master."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from buildbot.util import garbage


class Circle:
    """It refers to itself, so only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The collector goes on as before."""
    thresholds = gc.get_threshold()
    gc.collect()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_objects_that_are_set_aside() -> None:
    """Automatic collections pass over them, and see the later ones; `collect` sees all, and sets the rest aside."""
    before = ref(Circle())
    circle = Circle()
    old = ref(circle)
    garbage.set_aside()
    assert before() is None
    del circle
    new = ref(Circle())
    gc.collect()
    assert old() is not None and new() is None
    kept = Circle()
    garbage.collect()
    assert old() is None
    kept_ref = ref(kept)
    del kept
    gc.collect()
    assert kept_ref() is not None
    assert gc.get_threshold()[0] == garbage.YOUNG


def test_a_program_that_embeds_a_master() -> None:
    """Where nothing was set aside, nothing is."""
    circle = ref(Circle())
    garbage.collect()
    assert circle() is None and gc.get_freeze_count() == 0
