"""What an origin is, and what may stand in a list of origins. Pure.

An origin is compared as browsers build it: scheme, host and port, in small letters, the scheme's own port filled in,
an IPv6 address in its one short form. A list holds `*`, origins, `https://*.example.com` for every name under a domain
(never the domain itself), and for pages without a site `null`, `file://` and schemes of apps: only http and https
name a site, so only those can stand for one.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

SITES = {"http": 80, "https": 443}  # scheme → its own port
WITHOUT_SITE = ("null", "file://")
ANY = "*"

_SHAPE = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_LABELS = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNDER = "*."
MEND = (
    'Write the scheme and the host alone, as "https://app.example.com" or "http://localhost:3000"; '
    '"https://*.example.com" stands for every name under a domain.'
)


class Origin(NamedTuple):
    """Where a page is from. `port` is None where the scheme has none of its own and none was given."""

    scheme: str
    host: str
    port: int | None

    @property
    def names_a_site(self) -> bool:
        """Whether a cookie of a site could be its own at all."""
        return self.scheme in SITES


def parse(text: str) -> Origin | None:
    """What a text says, or None for what is no origin, as `null` or one with a path, a user or other letters."""
    shape = _SHAPE.fullmatch(text.lower()) if text.isascii() else None
    if shape is None:
        return None
    scheme, host, port = shape.groups()
    number = int(port) if port else SITES.get(scheme)
    known = _host(host, scheme)
    return Origin(scheme, known, number) if known and (number is None or 0 < number < 65536) else None


def listed(text: str, entries: Sequence[str]) -> bool:
    """Whether a list names this origin: by itself, or by the domain that it is under. `*` names nobody."""
    if text in WITHOUT_SITE:
        return text in entries
    origin = parse(text)
    return origin is not None and any(_names(entry, origin) for entry in entries)


def fault_of(entry: str) -> str:
    """What to write in place of an entry that can match nothing, or says less than it seems to; "" for a good one."""
    if entry == ANY or entry in WITHOUT_SITE:
        return ""
    if "*" in entry:
        return "" if _domain(entry) else MEND
    if parse(entry):
        return ""
    if not entry.isascii():
        return f"{MEND} Other letters in their ASCII form (punycode), as browsers send them: xn--…"
    return MEND


def covers_a_top_level(entry: str) -> bool:
    """Whether an entry stands for all names under a domain that anybody can have a name under, as `https://*.com`."""
    domain = _domain(entry)
    return domain is not None and "." not in domain.host.removesuffix(".") and domain.host != "localhost"


def _names(entry: str, origin: Origin) -> bool:
    domain = _domain(entry)
    if domain is None:
        return parse(entry) == origin
    return (domain.scheme, domain.port) == (origin.scheme, origin.port) and origin.host.endswith(f".{domain.host}")


def _domain(entry: str) -> Origin | None:
    """The domain D of an entry `https://*.D`, with its scheme and port; None for any other."""
    scheme, _, rest = entry.partition("://")
    if not rest.startswith(_UNDER):
        return None
    domain = parse(f"{scheme}://{rest.removeprefix(_UNDER)}")
    return domain if domain and domain.names_a_site and not _is_address(domain.host) else None


def _host(host: str, scheme: str) -> str:
    """The host as browsers write it, "" for what is none."""
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1])}]"
        if scheme in SITES and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return str(IPv4Address(host))  # browsers read a name that ends in a number as an address
    except ValueError:
        return ""
    return host if scheme not in SITES or _LABELS.fullmatch(host) else ""


def _is_address(host: str) -> bool:
    return host.startswith("[") or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
