"""The networks an address is in, widest first: who holds an address of one may hold many of them.

An IPv4 address stands for itself. An IPv6 address is in a /64 (a household, or one server), a /48 (a customer with many
networks) and a /32 (a provider): without the wider ones somebody with a /48 would count as 65,536 clients. Pure.
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

WIDTHS = (32, 48, 64)  # bits of an IPv6 address that name its networks
LOOSER = 4  # a wider network may hold so many times what the next narrower one may


@lru_cache(maxsize=8192)  # whoever comes is asked for several times, and after an outage everybody comes again
def networks_of(address: str) -> tuple[str, ...]:
    """The networks of an address, widest first; what is no address counts as one network of its own."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return (address,)
    if not isinstance(parsed, IPv6Address):
        return (str(parsed),)
    if parsed.ipv4_mapped:
        return (str(parsed.ipv4_mapped),)
    return tuple(f"{int(parsed) >> 128 - bits:x}/{bits}" for bits in WIDTHS)


def bounds_of(narrowest: int) -> tuple[int, ...]:
    """What each network may hold, narrowest first, when the narrowest may hold `narrowest`."""
    return tuple(narrowest * LOOSER**step for step in range(len(WIDTHS)))
