"""Streaming responses of synchronous views, a piece at a time: neither the loop nor the memory holds one whole.

Under ASGI Django would read such a response to its end before the first byte leaves. Here its iterator is asked in the
request's own thread (database connections belong to one), for as much as it gives at once, up to a piece.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest

PIECE = 64 * 1024  # bytes that are collected before they are sent
AT_ONCE = 0.001  # seconds: an iterator that takes longer for a part has nothing to collect


class InPieces:
    """The outermost middleware: it sees every response as it will be sent."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """A response, or a coroutine that gives one."""
        return self._answer(request) if iscoroutinefunction(self) else self.get_response(request)

    async def _answer(self, request: HttpRequest) -> Any:
        response = await self.get_response(request)
        if response.streaming and not response.is_async:
            response.streaming_content = pieces(iter(response.streaming_content))
        return response


async def pieces(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What an iterator gives, joined as far as it gives it at once."""
    more = True
    while more:
        data, more = await sync_to_async(_collect)(parts)
        if data:
            yield data


def _collect(parts: Iterator[bytes]) -> tuple[bytes, bool]:
    """Some of it, and whether there is more."""
    found, size, asked = [], 0, time.monotonic()
    for part in parts:
        found.append(part)
        size += len(part)
        now = time.monotonic()
        if size >= PIECE or now - asked > AT_ONCE:
            return b"".join(found), True
        asked = now
    return b"".join(found), False
