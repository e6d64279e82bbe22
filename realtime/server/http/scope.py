"""ASGI's scopes of requests and WebSockets, from a head: what the client sent, and who it is.

Which path the site lies under is a setting of the server, never a header's matter.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from daphne.utils import parse_x_forwarded_for

from flotilla.realtime.server.head import Head, Headers, Refused
from flotilla.realtime.server.streams import Peer

_ROOT_PATH = b"daphne-root-path"  # stock Daphne believes it, whoever sends it


def http_scope(server: Any, transport: Any, head: Head, secure: bool) -> dict[str, Any]:
    """The scope of a request. Raises Refused."""
    scope = _scope(server, transport, head, "https" if secure else "http")
    scope["type"] = "http"
    scope["method"] = head.method.decode("ascii")
    return scope


def websocket_scope(server: Any, transport: Any, head: Head, secure: bool, subprotocols: list[str]) -> dict[str, Any]:
    """The scope of a handshake. Raises Refused."""
    scope = _scope(server, transport, head, "https" if secure else "http")
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if scope["scheme"] in ("https", "wss") else "ws"
    scope["subprotocols"] = subprotocols
    return scope


def _scope(server: Any, transport: Any, head: Head, scheme: str) -> dict[str, Any]:
    headers = [pair for pair in head.headers if b"_" not in pair[0] and pair[0] != _ROOT_PATH]  # CVE-2015-0219
    client, scheme = _client(server, transport, headers, scheme)
    return {
        "asgi": {"version": "3.0"},
        "http_version": head.version,
        "scheme": scheme,
        "path": unquote(head.target.decode("ascii")),
        "raw_path": head.target,
        "root_path": server.root_path,
        "headers": headers,
        "query_string": head.query,
        "client": client,
        "server": _address(transport.getHost),
    }


def _client(server: Any, transport: Any, headers: Headers, scheme: str) -> tuple[list[Any] | None, str]:
    """Who connects and how, as a trusted proxy says where there is one. Raises Refused."""
    client = _address(transport.getPeer)
    if server.proxy_forwarded_address_header:
        names = (
            server.proxy_forwarded_address_header,
            server.proxy_forwarded_port_header,
            server.proxy_forwarded_proto_header,
        )
        try:  # the first of several counts
            client, scheme = parse_x_forwarded_for(dict(reversed(headers)), *names, client, scheme)
        except UnicodeDecodeError:
            raise Refused(400, "a forwarded address is not UTF-8") from None
    return client, scheme if scheme in ("http", "https", "ws", "wss") else "http"


def _address(ask: Callable[[], Any]) -> list[Any] | None:
    found = ask()
    if isinstance(found, Peer):
        return [found.host, found.port]
    return [str(found.host), found.port] if hasattr(found, "host") and hasattr(found, "port") else None
