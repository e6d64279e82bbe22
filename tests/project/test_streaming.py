"""Synchronous streams under ASGI: asked for a piece at a time, in one thread, and closed when the client is gone."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from project.streaming import PIECE, InPieces, pieces


async def test_nothing_is_asked_for_before_it_is_wanted() -> None:
    asked = 0

    def parts() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 10_000

    stream = pieces(parts())
    first = await anext(stream)
    assert PIECE <= len(first) < PIECE + 10_000
    assert asked == len(first) // 10_000


async def test_many_small_parts_come_together_and_whole() -> None:
    found = [piece async for piece in pieces(iter([b"%d," % number for number in range(50_000)]))]
    assert b"".join(found) == b"".join(b"%d," % number for number in range(50_000))
    assert len(found) < 1000


async def test_the_loop_turns_while_a_part_takes_its_time() -> None:
    turns, free = 0, threading.Event()

    def parts() -> Iterator[bytes]:
        free.wait(10)
        yield b"late"

    async def turn() -> None:
        nonlocal turns
        for _ in range(50):
            await asyncio.sleep(0)
            turns += 1
        free.set()

    _, found = await asyncio.gather(turn(), anext(pieces(parts())))
    assert (turns, found) == (50, b"late")


async def test_a_part_that_was_waited_for_leaves_at_once() -> None:
    def parts() -> Iterator[bytes]:
        for number in range(3):
            time.sleep(0.01)
            yield b"%d" % number

    assert [piece async for piece in pieces(parts())] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("kind", ["file", "stream", "whole", "asynchronous"])
async def test_only_synchronous_streams_are_changed(kind: str, tmp_path: object) -> None:
    async def many() -> object:
        yield b"content"

    async def view(request: HttpRequest) -> HttpResponseBase:
        if kind == "file":
            return FileResponse(open(__file__, "rb"))
        if kind == "stream":
            return StreamingHttpResponse(iter([b"con", "tent"]))
        return HttpResponse("content") if kind == "whole" else StreamingHttpResponse(many())

    response = await InPieces(view)(HttpRequest())
    if kind != "whole":
        assert response.is_async
        found = b"".join([piece async for piece in response])
        assert found == b"content" or kind == "file"
        assert kind != "file" or found.startswith(b'"""Synchronous streams')
    response.close()
