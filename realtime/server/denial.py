"""Answers a WebSocket's handshake with a status of the application's choice (ASGI's `websocket.http.response`).

Daphne itself knows only 403. The response is a head alone; a body is left out, for no browser shows it.
"""

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

EXTENSION = "websocket.http.response"


def offer(scope: MutableMapping[str, Any]) -> None:
    """Tell the application that handshakes can be answered."""
    scope.setdefault("extensions", {})[EXTENSION] = {}


def handle(protocol: Any, message: MutableMapping[str, Any]) -> bool:
    """Whether the message belonged to such an answer; if so, it has been dealt with."""
    if message.get("type") == f"{EXTENSION}.start":
        protocol.denial = message
    elif message.get("type") == f"{EXTENSION}.body":
        if not message.get("more_body") and protocol.state == protocol.STATE_CONNECTING:
            _answer(protocol, protocol.denial)
    else:
        return False
    return True


def _answer(protocol: Any, start: MutableMapping[str, Any]) -> None:
    status = int(start["status"])
    headers = [(name.decode("latin1"), value.decode("latin1")) for name, value in start.get("headers", ())]
    kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "content-type")]
    kept += [("Content-Length", "0"), ("Connection", "close")]
    del protocol.handshake_deferred  # it is answered here, and Autobahn waits for nothing else
    protocol.failHandshake(HTTPStatus(status).phrase, status, kept)
    protocol.server.protocol_disconnected(protocol)
