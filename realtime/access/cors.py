"""Which pages of other origins may read what we answer over HTTP, as browsers ask (the Fetch standard, CORS).

The list is that of WebSockets (`origins`), and so is what a cookie needs: credentials are allowed to origins that are
listed by name, never under `*`. A browser sends no Origin with a GET of the page's own site, nor with one that no
script has asked for, whoever wrote its address: a link that is followed, an image, a frame. `Sec-Fetch-Site` and
`Sec-Fetch-Mode` tell them apart, and where a browser sends neither (over plain http), what it accepts. Since a GET may
be of the page's own site, its host must be ours, or any name that an attacker points here would be such a site.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flotilla.realtime.access.origins import host_is_ours, refusal
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.origin import ANY, listed

Headers = list[tuple[bytes, bytes]]

ALLOWED_HEADERS = b"content-type, authorization, x-api-key, last-event-id, cache-control, x-subscription-token"
MAX_AGE = b"7200"  # seconds; browsers take no more
_STRANGE = (b"cross-site", b"same-site")
_BY_SCRIPT = (b"cors", b"same-origin")  # modes of EventSource and fetch
_NO_SCRIPT_S = (b"text/html", b"image/", b"text/css")  # what is accepted for a page, a frame, a picture, a style
VARY = (b"vary", b"origin")


def why_refused(scope: Mapping[str, Any], config: RealtimeConfig) -> str:
    """Why a request may not be answered, for the log; "" when it may."""
    if (problem := refusal(scope, config)) or header(scope, b"origin") is not None:
        return problem
    if header(scope, b"sec-fetch-site") in _STRANGE:
        return "a page of another site asks without saying its origin"
    if not _by_script(scope):
        return "no script asks, but a link, an image or a frame"
    if scope.get("method") == "GET" and ANY not in config.allowed_origins and not host_is_ours(scope):
        return "no origin is said, and the host is not one of ALLOWED_HOSTS"
    return ""


def _by_script(scope: Mapping[str, Any]) -> bool:
    """Whether a script of this site may have asked, or no browser at all. With other methods browsers say an Origin."""
    mode = header(scope, b"sec-fetch-mode")
    if mode is not None:
        return mode in _BY_SCRIPT
    accepted = (header(scope, b"accept") or b"").lower()
    return scope.get("method") != "GET" or not any(kind in accepted for kind in _NO_SCRIPT_S)


def cors_headers(scope: Mapping[str, Any], config: RealtimeConfig) -> Headers:
    """What is said to the page that asks; nothing to one of the same origin, or that may not ask."""
    origin = header(scope, b"origin")
    if origin is None or refusal(scope, config):
        return [VARY]
    text = origin.decode("latin-1")
    if ANY in config.allowed_origins and not listed(text, config.allowed_origins):
        return [(b"access-control-allow-origin", b"*"), VARY]
    return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"), VARY]


def preflight_headers(scope: Mapping[str, Any], config: RealtimeConfig, methods: Sequence[str]) -> Headers:
    """The answer to a browser that asks whether it may ask."""
    found = cors_headers(scope, config)
    if len(found) > 1:
        found += [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", MAX_AGE),
        ]
    return found


def header(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """A header's value; several are joined by a comma. None where there is none."""
    values = [value for key, value in scope.get("headers", ()) if key == name]
    return b", ".join(values) if values else None
