"""Which addresses count as one."""

from __future__ import annotations

import pytest

from buildbot.util.addresses import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
        ("a:b", "a:b"),
        ("unknown", "unknown"),
    ],
)
def test_network(address: str, network: str) -> None:
    """A /64 of IPv6 is one; everything else stands for itself."""
    assert network_of(address) == network
