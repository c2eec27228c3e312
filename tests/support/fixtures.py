"""Fixtures that every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from buildbot.test.fake.fakedb import FakeMaster, make_master


@pytest.fixture
def master() -> Iterator[FakeMaster]:
    """The state layer of an active master on a database in memory; its calls run at once."""
    made = make_master()
    yield made
    made.mq.stop()
    made.db.close()
