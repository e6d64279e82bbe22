"""A handshake as the HttpRequest that a project's own authentication reads: a real one, with META, headers and GET.

What a browser sends by itself counts only from a page whose session cookie would count (`origins`): from any other the
request has neither the cookies nor the Authorization of the handshake, so that a strange page cannot connect in its
visitor's name. What the page's own code sends in the connect command is different, as it had to know it: the headers of
EMULATED stand in for those that browsers let nobody set, and only where the handshake has none. No other header of a
command is taken, for a proxy that watches over headers does not see those.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.handlers.asgi import ASGIRequest

from flotilla.realtime.access.origins import cookie_refusal
from flotilla.realtime.conf import RealtimeConfig

EMULATED = ("authorization", "x-api-key")
_BY_ITSELF = (b"cookie", b"authorization")  # what a browser sends whoever the page is of
_PAGE = {"ws": "http", "wss": "https"}  # a handshake's scheme → that of a page over the same connection


class HandshakeRequest(ASGIRequest):
    """The handshake of a client that asks to connect; it has no body.

    `connect_token` and `connect_data` are what its connect command brought: text ("" for none) and any JSON value. A
    hook may set `expire_at`, Unix seconds, to say when the connection ends.
    """

    def __init__(self, scope: Mapping[str, Any], connect_token: str = "", connect_data: Any = None) -> None:
        super().__init__(scope, BytesIO())
        self.connect_token = connect_token
        self.connect_data = connect_data
        self.expire_at: float | None = None
        self.user = AnonymousUser()


def request_of(
    scope: Mapping[str, Any],
    config: RealtimeConfig,
    *,
    token: str = "",
    data: Any = None,
    headers: Mapping[str, str] | None = None,
) -> HandshakeRequest:
    """The request; `token`, `data` and `headers` are those of the connect command."""
    refused = bool(cookie_refusal(scope, config))
    of_handshake = [(name.lower(), value) for name, value in scope.get("headers", ())]
    kept = [(name, value) for name, value in of_handshake if not (refused and name in _BY_ITSELF)]
    names = {name for name, _ in kept}
    for name, value in (headers or {}).items():
        given = name.lower()
        if given in EMULATED and given.encode() not in names and value.isascii() and value.isprintable():
            names.add(given.encode())
            kept.append((given.encode(), value.encode()))
    scheme = str(scope.get("scheme") or "ws")
    of_request = {
        "type": "http",
        "method": "GET",
        "scheme": _PAGE.get(scheme, scheme),
        "path": scope.get("path", "/"),
        "query_string": scope.get("query_string", b"").decode("utf-8", "replace"),
        "headers": kept,
    }
    return HandshakeRequest({**scope, **of_request}, token, data)
