"""The number of files and sockets that this process may have open, and the shares of its parts."""

from __future__ import annotations

import resource


def share(part: float, most: int) -> int:
    """The number of descriptors that a part of the process may use.

    Args:
        part: its share of all descriptors of the process (``ulimit -n``).
        most: the upper limit.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, int(soft * part)))
