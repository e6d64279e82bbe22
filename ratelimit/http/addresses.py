"""The address a client is counted by: X-Forwarded-For is read from the right, past trusted proxies and no further.

Whatever stands left of the first address that is not a trusted proxy's may have been written by the client itself, and
is ignored. IPv6 clients are counted by their /64, which is the least that a household gets. Pure.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
SHORT = 64  # characters of an address that is remembered: the zone of an IPv6 address may have any length


def networks(values: Sequence[str]) -> tuple[Network, ...]:
    """Networks and single addresses, parsed. Raises ValueError that names the one that is neither."""
    return tuple(ip_network(value.strip(), strict=False) for value in values)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The client's address: the peer's own, or what trusted proxies say. "" where there is none (Unix sockets)."""
    if not trusted or not (is_trusted(peer, trusted) or not peer):
        return peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        address = _without_port(hop)
        if not _parsed(address):
            return peer  # the proxy wrote no address here: what stands left of it cannot be trusted
        peer = address
        if not is_trusted(address, trusted):
            break
    return peer


def address_of(text: str) -> str:
    """What `counted` makes of an address that somebody typed. A network is accepted where one address is counted by it.

    Raises ValueError, with what to write instead, for anything else, because it would match nobody.
    """
    text = text.strip()
    alone, slash, _ = text.partition("/")
    if not slash and _parsed(alone) and (":" in alone or "%" not in alone):  # a zone is part of IPv6 alone
        return counted(alone)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:100]!r} is not an address: write it as 192.0.2.1 or 2001:db8::1") from None
    one = str(network.network_address)
    if isinstance(network, IPv4Network) and network.prefixlen == 32:
        return one
    if isinstance(network, IPv6Network) and network.prefixlen == 64 and counted(alone) == str(network):
        return str(network)
    kind = (
        "an IPv6 address stands for its /64" if isinstance(network, IPv6Network) else "addresses are counted one by one"
    )
    raise ValueError(f"{text[:100]!r} is a network, and {kind}: write an address, as {alone[:60]}")


def counted(address: str) -> str:
    """What an address is counted by: IPv4 as it is, IPv6 by /64, IPv4 in IPv6 as IPv4."""
    return _bounds(address)[0]


def wide(address: str) -> str:
    """What the wider bound counts an address by: IPv4 as it is, IPv6 by the /48, which one customer may have."""
    return _bounds(address)[1]


def _bounds(address: str) -> tuple[str, str]:
    ask = _counted_by if len(address) <= SHORT else _counted_by.__wrapped__
    return ask(address)


@lru_cache(maxsize=4096)
def _counted_by(address: str) -> tuple[str, str]:
    """`counted` and `wide`, for who is counted by one is by the other."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        return str(ip_network((int(parsed) >> 64 << 64, 64))), str(ip_network((int(parsed) >> 80 << 80, 48)))
    alone = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else parsed
    text = str(alone) if alone else address
    return text, text


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address.partition("%")[0])
    except ValueError:
        return None


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks, also where it is written as IPv6."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed is not None and any(parsed in network for network in trusted)


def _without_port(hop: str) -> str:
    """`1.2.3.4:567` and `[2001:db8::1]:567`, as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
