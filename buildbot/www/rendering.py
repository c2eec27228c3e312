"""Values of the web server's configuration that become known while the master runs, such as secrets."""

from __future__ import annotations

from typing import Any

from buildbot.interfaces import is_renderable


async def rendered(master: Any, value: Any) -> Any:
    """A value; a renderable gives its value without a build."""
    return await master.rendered(value) if is_renderable(value) else value
