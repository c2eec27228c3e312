"""The sample, imported once for each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.importing.support import Imported, imported, sample_copy
from tests.support.databases import selected_backends


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, not to be changed."""
    return sample_copy(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module", params=selected_backends())
def sample_imported(
    request: pytest.FixtureRequest, sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Imported]:
    """A database of each kind that the sample was imported into; what is added to it must not disturb others."""
    with imported(request.param, sample, tmp_path_factory.mktemp("imported")) as found:
        yield found
