"""What a call of the HTTP API meets before Django: its key is looked at before its body is read, and its trace begins.

Django reads a body before any view sees the request. So where a call of the API comes without a valid key, the rest of
the stack is given an empty body in place of the one that is announced: it answers as ever (401, limits, metrics), and
the server never asks the client for what it would send. Who has a valid key may have a call traced (`traceparent`).
"""

import asyncio
from contextlib import nullcontext
from typing import Any

from django.urls import Resolver404, resolve

from flotilla.realtime.api.keys import is_valid, key_among
from flotilla.realtime.api.traced import begin_call
from flotilla.realtime.api.views import call


def unread_without_key(application: Any) -> Any:
    """An ASGI application of HTTP that does so in front of another."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = None
        if _has_body(headers) and (method := _method(scope)) is not None:
            if is_valid(key_among(headers.get)):
                span = begin_call(scope, method)
            else:
                receive = _Nothing()
        with span.entered() if span is not None else nullcontext():
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


def _method(scope: dict[str, Any]) -> str | None:
    """The method that is called, wherever the project has put the API's view; None if another view answers."""
    try:
        found = resolve(scope["path"].removeprefix(scope.get("root_path") or ""))
    except Resolver404:
        return None
    return str(found.kwargs["method"]) if found.func is call else None
