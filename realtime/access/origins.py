"""Which web pages may open a connection, and from which of them a session cookie counts.

Only browsers send an Origin header, and always: a handshake without one is no browser's and is let through. A page of
the same host is allowed, where that host is one of ALLOWED_HOSTS (else a rebound DNS name would count as one's own);
other pages need their origin in `allowed_origins`, or `*` there.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from realtime.conf import RealtimeConfig

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]


def origin_allowed(scope: Mapping[str, Any], config: RealtimeConfig) -> bool:
    """Whether a handshake may go on."""
    return not refusal(scope, config)


def refusal(scope: Mapping[str, Any], config: RealtimeConfig) -> str:
    """Why a handshake may not go on, for the log; "" when it may."""
    origin = _header(scope, b"origin")
    if origin is None or "*" in config.allowed_origins or _own(scope, origin, config):
        return ""
    return f"the origin {origin[:200]!r} is neither this host's nor in REALTIME_ALLOWED_ORIGINS"


def cookie_counts(scope: Mapping[str, Any], config: RealtimeConfig) -> bool:
    """Whether a session cookie may identify the user: never for an origin let in by `*` alone."""
    origin = _header(scope, b"origin")
    return origin is None or _own(scope, origin, config)


def _own(scope: Mapping[str, Any], origin: str, config: RealtimeConfig) -> bool:
    """Whether the origin is listed by name or is this host's."""
    hosts = settings.ALLOWED_HOSTS or (_LOCAL_HOSTS if settings.DEBUG else [])
    return _belongs(origin, _header(scope, b"host") or "", config.allowed_origins, tuple(hosts))


@lru_cache(maxsize=1024)  # a storm of reconnecting browsers asks the same again and again
def _belongs(origin: str, host: str, allowed_origins: tuple[str, ...], allowed_hosts: tuple[str, ...]) -> bool:
    parsed = _parse(origin)
    if parsed is None:
        return False
    if any(parsed == _parse(listed) for listed in allowed_origins):
        return True
    domain, _ = split_domain_port(host)
    return parsed == _parse(f"{parsed[0]}://{host}") and bool(domain) and validate_host(domain, allowed_hosts)


def _parse(origin: str) -> tuple[str, str, int | None] | None:
    """(scheme, host, port) with the scheme's default port filled in, or None for what is no origin, as `null`."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.fragment or "@" in origin:
        return None
    return parts.scheme, parts.hostname, port


def _header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The header's value; several of one name are joined, and so equal none that is allowed."""
    values = [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name]
    return ", ".join(values) if values else None
