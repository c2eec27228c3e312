"""The short form of the proof, on each database, and the mistakes that it has to notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.exactness.broken import VARIANTS
from tests.exactness.farm import Farm, Faults, Report
from tests.exactness.settings import Settings
from tests.support.databases import database_url, selected_backends
from tests.support.servers import own_server, wait_until_it_answers

SECONDS = 8.0
SEED = 4


@contextmanager
def own_database(backend: str, directory: Path) -> Iterator[tuple[str, Any]]:
    """A database, and its server if it may be killed."""
    if backend == "sqlite":
        with database_url(backend, "exactness", directory) as url:
            yield url, None
        return
    with own_server(backend) as server:
        wait_until_it_answers(server)
        yield server.url, server


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("backend", selected_backends())
def test_exact(backend: str, tmp_path: Path) -> None:
    """A snapshot and the events after it give the later snapshot, with any process killed; claims have one owner."""
    with own_database(backend, tmp_path) as (url, server):
        # on a busy machine others come late; script/exactness says how long they take where there is room
        settings = Settings(url, str(tmp_path), SEED, expiry_s=2, recovery_s=60)
        report = Farm(settings, faults=Faults(every_s=1.0), server=server).run(SECONDS)
    assert report.violations == []
    # and it did happen
    assert report.counts["events"] > 100
    assert report.counts["comparisons"] > 20
    assert report.counts["kills"] + report.counts["pauses beyond expiry"] > 0
    assert report.counts["subscriptions by other paths"] > 0


def caught(broken: str, url: str, directory: Path, faults: Faults, said: tuple[str, ...]) -> Report:
    """A run with a mistake in it, up to the moment that it is noticed."""
    settings = Settings(url, str(directory), SEED, broken, expiry_s=2, pace_s=0.02)
    return Farm(settings, faults=faults).run(240, until=said)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("broken", "faults", "said"),
    [
        ("early-numbers", Faults(every_s=1000), ("numbers are missing", "snapshot + events", "what was heard")),
        ("early-dispatch", Faults(every_s=1000), ("heard before its transaction was committed",)),
        ("no-fencing", Faults(kill=0, hiccup=0, watcher=0, every_s=1.0), ("has ended", "without the claim", "another")),
    ],
)
def test_mistakes_are_noticed(broken: str, faults: Faults, said: tuple[str, ...], tmp_path: Path) -> None:
    """A log that numbers early or dispatches early, and claims without fencing, do not pass."""
    if "postgresql" not in selected_backends():
        pytest.skip("the mistakes are made on PostgreSQL, which is not among the databases to test on")
    with database_url("postgresql", "exactness") as url:
        report = caught(broken, url, tmp_path, faults, said)
    assert any(phrase in violation for violation in report.violations for phrase in said), report.lines()


def test_there_is_a_test_for_each_mistake() -> None:
    """The tests above show for each variant of ``--broken`` that it is noticed."""
    marks: Any = vars(test_mistakes_are_noticed)["pytestmark"]
    parameters = next(mark for mark in marks if mark.name == "parametrize").args[1]
    assert {parameter[0] for parameter in parameters} == set(VARIANTS)
