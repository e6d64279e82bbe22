"""The campaign's own network: it passes everything on while it is whole, and fails as it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.chaos.links import Link
from tests.cluster.support.processes import eventually

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Connect]]:
    """A link before a server that says everything back, and how to connect to it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        echoes.remove(writer)

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echoes.add(writer)
        await echo(reader, writer)

    echoes: set[asyncio.StreamWriter] = set()
    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    link = Link(server.sockets[0].getsockname()[1])
    await link.start()
    opened: list[Streams] = []

    async def connect() -> Streams:
        opened.append(await asyncio.open_connection("127.0.0.1", link.port))
        return opened[-1]

    try:
        yield link, connect
    finally:
        for _, writer in opened:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await link.stop()
        server.close()
        await eventually(lambda: not link.pairs and not echoes, "nothing is left")


async def test_everything_is_passed_on_in_order_also_while_it_gets_slow_and_fast_again() -> None:
    async with linked() as (link, connect):
        reader, writer = await connect()
        sent = b""
        for number in range(300):
            link.delay = (0.0, 0.01, 0.002)[number // 20 % 3]
            piece = b"%d;" % number * 50
            sent += piece
            writer.write(piece)
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 10) == sent


async def test_much_more_than_a_buffer_holds_gets_through() -> None:
    async with linked() as (_, connect):
        reader, writer = await connect()
        sent = bytes(range(256)) * 20_000
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 20) == sent


async def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_mended() -> None:
    async with linked() as (link, connect):
        reader, writer = await connect()
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        link.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            refused, other = await connect()
            other.write(b"x")
            await asyncio.wait_for(refused.readexactly(1), 5)
        link.mend()
        reader, writer = await connect()
        writer.write(b"again")
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"again"


async def test_a_half_open_connection_swallows_and_never_comes_back_while_new_ones_are_whole() -> None:
    async with linked() as (link, connect):
        reader, writer = await connect()
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        link.half_open()
        writer.write(b"lost")
        fresh, other = await connect()
        other.write(b"whole")
        assert await asyncio.wait_for(fresh.readexactly(5), 5) == b"whole"
        link.mend()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):  # and not: "lost", or what follows it
            await asyncio.wait_for(reader.readexactly(1), 5)
        other.write(b"still")
        assert await asyncio.wait_for(fresh.readexactly(5), 5) == b"still"


async def test_the_end_of_one_side_is_the_end_of_the_other_after_what_it_said() -> None:
    async with linked() as (_, connect):
        reader, writer = await connect()
        writer.write(b"bye")
        assert await reader.readexactly(3) == b"bye"
        writer.close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
