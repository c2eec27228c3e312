"""Fixtures of all tests in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

# Other tests run beside these, with many processes, so events come later.
expect.set_options(timeout=20_000)
