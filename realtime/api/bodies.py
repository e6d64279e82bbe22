"""The HTTP API reads no body of a request whose key is wrong.

Django reads a body before any view sees the request. So where a call of the API comes without a valid key, the rest of
the stack is given an empty body in place of the one that is announced: it answers as ever (401, limits, metrics), and
the server never asks the client for what it would send.
"""

import asyncio
from typing import Any

from django.urls import Resolver404, resolve

from flotilla.realtime.api.keys import is_valid, key_among
from flotilla.realtime.api.views import call


def unread_without_key(application: Any) -> Any:
    """An ASGI application of HTTP that does so in front of another."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if _has_body(headers) and _is_call(scope) and not is_valid(key_among(headers.get)):
            receive = _Nothing()
        await application(scope, receive, send)

    return guarded


class _Nothing:
    """Receives an empty body, and then no more events: whoever waits for one is ended with the response."""

    def __init__(self) -> None:
        self._given = False

    async def __call__(self) -> dict[str, Any]:
        if self._given:
            await asyncio.Event().wait()
        self._given = True
        return {"type": "http.request", "body": b"", "more_body": False}


def _has_body(headers: dict[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _is_call(scope: dict[str, Any]) -> bool:
    """Whether the API's view answers it, wherever the project has put that."""
    try:
        return resolve(scope["path"].removeprefix(scope.get("root_path") or "")).func is call
    except Resolver404:
        return False
