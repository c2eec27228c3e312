"""How many files and sockets this process may have open, and who may take how many of them."""

from __future__ import annotations

import resource


def share(part: float, most: int) -> int:
    """How many descriptors something may use.

    Args:
        part: of all that the process may have (``ulimit -n``).
        most: and no more than this.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, int(soft * part)))
