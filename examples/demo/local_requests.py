"""Whether a request was made on this very machine, under a name of it, by the user that this process runs as.

For what only the person may do who started a demo. A name that is resolved to 127.0.0.1 by somebody else's DNS is no
name of this machine. Other users of the machine are told apart where the system says whose a connection is (Linux).
"""

import os
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.request import split_domain_port

FORWARDING_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_local(request: HttpRequest) -> bool:
    """A forwarded request is refused even when the proxy is local, for then the client's address is the proxy's."""
    if any(header in request.META for header in FORWARDING_HEADERS):
        return False
    address = _parsed(request.META.get("REMOTE_ADDR", ""))
    if address is None or not address.is_loopback or not _names_this_machine(request):
        return False
    ports = _port(request, "REMOTE_PORT"), _port(request, "SERVER_PORT")
    return not all(ports) or is_own_connection(address, *ports)


def is_own_connection(address: IPv4Address | IPv6Address, port: int, to_port: int) -> bool:
    """Whether the client's end of a connection on this machine belongs to our user; True where nothing tells.

    An end that its process has closed already is nobody's: it counts as another's.
    """
    tables = [table.read_text().splitlines()[1:] for table in TABLES if table.exists()]
    if not tables:
        return True
    for row in (line.split() for table in tables for line in table):
        local, remote, owner, inode = row[1], row[2], row[7], row[9]
        if _port_of(local) == port and _port_of(remote) == to_port and _address_of(local) == address:
            return int(owner) == os.getuid() and inode != "0"
    return False


def _names_this_machine(request: HttpRequest) -> bool:
    try:
        domain, _ = split_domain_port(request.get_host())
    except DisallowedHost:
        return False
    address = _parsed(domain.strip("[]"))
    return address.is_loopback if address else domain == "localhost" or domain.endswith(".localhost")


def _port(request: HttpRequest, name: str) -> int:
    value = str(request.META.get(name) or "")
    return int(value) if value.isascii() and value.isdigit() else 0


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """An address; IPv4 in IPv6 as IPv4."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed


def _address_of(end: str) -> IPv4Address | IPv6Address | None:
    """The address of `0100007F:1F90`, as Linux writes it: words of 32 bits in the machine's order."""
    words = bytes.fromhex(end.partition(":")[0])
    ordered = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return _parsed(str(ip_address(ordered)))


def _port_of(end: str) -> int:
    return int(end.partition(":")[2], 16)
