"""Which web pages may open a connection, and from which of them a session cookie counts.

Browsers always send an Origin header, and only browsers do: a handshake without one is let through. A page of the same
host is allowed where that host is one of ALLOWED_HOSTS (else a DNS name that an attacker points here would count as our
own). Other pages need their origin in `allowed_origins`, or `*` there.

A cookie needs more: the page's scheme, host and port must be those of the handshake, or its site must be listed. They
are compared as in Django's check of CSRF and by Django's own functions, so SECURE_PROXY_SSL_HEADER and
USE_X_FORWARDED_HOST mean here what they mean for a page. The reason: somebody who can change an `http://` page on its
way must not get the session of the `https://` site. CSRF_TRUSTED_ORIGINS does not count: those sites may post, but not
read.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.origin import ANY, listed, parse

_ASKED = frozenset({b"origin", b"host", b"x-forwarded-host", b"x-forwarded-port"})  # what `refusal` depends on
MOST_REMEMBERED = 1000  # bytes of headers that an answer is remembered for: strangers choose them
_PAGE = {"ws": "http", "wss": "https"}  # a handshake's scheme → that of a page over the same connection


def origin_allowed(scope: Mapping[str, Any], config: RealtimeConfig) -> bool:
    """Whether a handshake may go on."""
    return not refusal(scope, config)


def refusal(scope: Mapping[str, Any], config: RealtimeConfig) -> str:
    """Why a handshake may not go on, for the log; "" when it may."""
    headers = tuple([pair for pair in scope.get("headers", ()) if pair[0] in _ASKED])
    ask = _refusal if sum([len(value) for _, value in headers]) <= MOST_REMEMBERED else _refusal.__wrapped__
    return ask(headers, config.allowed_origins, tuple(settings.ALLOWED_HOSTS), _of_django())


@lru_cache(maxsize=1024)  # a storm of reconnecting browsers asks the same again and again
def _refusal(
    headers: tuple[tuple[bytes, bytes], ...], allowed_origins: tuple[str, ...], hosts: tuple[str, ...], django: Any
) -> str:
    """`refusal`, by all that it depends on: `hosts` and `django` are settings that Django itself looks at."""
    handshake = _Handshake({"headers": headers})
    origin = handshake.origin
    if origin is None or ANY in allowed_origins or listed(origin, allowed_origins):
        return ""
    if _same_host(origin, handshake.host):
        return ""
    return f"the origin {origin[:200]!r} is neither this host's nor in REALTIME_ALLOWED_ORIGINS"


def host_is_ours(scope: Mapping[str, Any]) -> bool:
    """Whether the host that was asked for is one of ALLOWED_HOSTS."""
    return bool(_Handshake(scope).host)


def _of_django() -> tuple[bool, bool, bool]:
    return bool(settings.DEBUG), settings.USE_X_FORWARDED_HOST, settings.USE_X_FORWARDED_PORT


def cookie_counts(scope: Mapping[str, Any], config: RealtimeConfig) -> bool:
    """Whether a session cookie may identify the user."""
    return not cookie_refusal(scope, config)


def cookie_refusal(scope: Mapping[str, Any], config: RealtimeConfig) -> str:
    """Why a session cookie does not count, for the log; "" when it does."""
    handshake = _Handshake(scope)
    origin = handshake.origin
    if origin is None:
        return ""
    parsed, own = parse(origin), handshake.own_origin
    names_a_site = parsed is not None and parsed.names_a_site
    if names_a_site and (parsed == parse(own) or listed(origin, config.allowed_origins)):
        return ""
    why = f"the origin {origin[:200]!r} is neither {own or 'this host'!r} nor a site in REALTIME_ALLOWED_ORIGINS"
    forgotten = own.startswith("http:") and parsed == parse(f"https:{own.removeprefix('http:')}")
    return why + ("; behind a proxy that ends TLS set DJANGO_TLS_PROXY" if forgotten else "")


class _Handshake(HttpRequest):
    """A handshake as a request, so that Django can say the scheme and host of a page over the same connection."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        """Sets only what scheme and host are read from; the rest of a request is missing."""
        self._of_connection = str(scope.get("scheme") or "ws")
        self.META = {"SERVER_NAME": "", "SERVER_PORT": "0"}
        for name, value in scope.get("headers", ()):
            if b"_" not in name:
                key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
                text = value.decode("latin-1")
                self.META[key] = f"{self.META[key]},{text}" if key in self.META else text

    def _get_scheme(self) -> str:
        return _PAGE.get(self._of_connection, self._of_connection)

    @property
    def origin(self) -> str | None:
        """The Origin header. Several are joined by a comma, and so equal none that is allowed."""
        value = self.META.get("HTTP_ORIGIN")
        return None if value is None else str(value)

    @property
    def host(self) -> str:
        """The host that the client asked for, with its port; "" where it is not one of ALLOWED_HOSTS."""
        try:
            return self.get_host()
        except DisallowedHost:
            return ""

    @property
    def own_origin(self) -> str:
        """The origin of a page that is served over this connection; "" where the host is not one of ALLOWED_HOSTS."""
        host = self.host
        return f"{self.scheme}://{host}" if host else ""


def _same_host(origin: str, host: str) -> bool:
    """Whether the page is of this host, whatever its scheme."""
    parsed = parse(origin)
    return parsed is not None and parsed.names_a_site and parsed == parse(f"{parsed.scheme}://{host}")
