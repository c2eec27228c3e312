"""The examples of docs/secrets.md are configurations that work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.plugins import secrets
from tests.docs.test_login import DOCS, blocks


def test_examples(tmp_path: Path) -> None:
    """They run one after the other."""
    (tmp_path / "secrets").mkdir()
    names: dict[str, Any] = {"c": {}, "basedir": str(tmp_path)}
    for text in blocks("secrets.md"):
        exec(text, names)
    steps = [step.build().name for step in names["factory"].steps]
    assert steps.count("write secret files") == steps.count("remove secret files") == 2
    assert len(names["c"]["secretsProviders"]) == 1


def test_all_providers() -> None:
    """The page names every provider that there is."""
    text = (DOCS / "secrets.md").read_text(encoding="utf-8")
    for name in dir(secrets):
        assert name in text or name == "SecretProviderBase", name
