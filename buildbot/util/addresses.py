"""Whom an address counts for, where there are limits per address."""

from __future__ import annotations

from ipaddress import IPv6Address

#: of an IPv6 address, the bits that a provider gives out; its customer has all the others
_NETWORK_BITS = 64


def network_of(address: str) -> str:
    """What stands for all addresses that one client may come from: a whole /64 of IPv6, else the address itself.

    Args:
        address: of IPv4 or IPv6; any other text stands for itself.
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if found.is_loopback:
        return address
    rest = 128 - _NETWORK_BITS
    return f"{IPv6Address(int(found) >> rest << rest)}/{_NETWORK_BITS}"
