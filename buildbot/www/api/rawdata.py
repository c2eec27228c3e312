"""Build data as plain downloads."""

from __future__ import annotations

from buildbot.www.errors import RefusedError
from buildbot.www.http.messages import Response
from buildbot.www.interfaces import Data


async def download(data: Data, path: tuple[str, ...]) -> Response:
    """The bytes at ``path``, which ends in ``value``.

    Raises:
        RefusedError: 404, there is no such build data.
    """
    found = await data.read({}, path, lambda found, clock: found)
    if found is None:
        raise RefusedError(404, f"not found: {'/'.join(path)}")
    headers = (
        ("Content-Type", "application/octet-stream; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        # a name is an identifier, which can neither end nor split the header's value
        ("Content-Disposition", f"attachment; filename={found['name']}"),
    )
    return Response(200, headers, found["value"])
