"""What all tests in a browser share."""

from __future__ import annotations

from playwright.sync_api import expect

# Other tests run beside these, with many processes; what is waited for comes, only later.
expect.set_options(timeout=20_000)
