"""Requests and handshakes of every kind (`http_grammar`): each connection comes to an end, what it is answered is HTTP,
and nothing is unhandled. A minute of it in CI, ten and more by hand; see `tests.fuzzing`.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import Iterator

import pytest

from tests.cluster.support.generic_server import Server
from tests.cluster.support.harness import CONFIG
from tests.cluster.support.http_client import memory, one_server
from tests.cluster.support.http_grammar import Grammar
from tests.fuzzing import MAX_SECONDS, SECONDS, cases

AT_ONCE = 8
ENDED_WITHIN = 30.0  # seconds: a head has 5, on an idle machine
GROWTH = 40 << 20  # bytes
WARM = 50  # connections until everything is loaded
TRACES = ("Traceback", '"traceback"', "Unhandled", '"CRITICAL"', "never retrieved")
FIRST = re.compile(rb"HTTP/1\.1 (\d{3}) [\t\x20-\x7e]*\r\n")
FAULT = re.compile(rb"(?:^|\n)HTTP/1\.1 5(?!01|05)\d\d ")


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance that nobody else asks."""
    with one_server(tmp_path_factory.mktemp("fuzz"), CONFIG) as made:
        yield made


async def talk(port: int, pieces: list[bytes]) -> bytes:
    """Send the pieces, say that nothing more comes, and return everything up to the end. Raises TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        async with asyncio.timeout(ENDED_WITHIN):
            with contextlib.suppress(OSError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write_eof()
            with contextlib.suppress(OSError):
                while data := await reader.read(1 << 16):
                    answer += data
    finally:
        writer.transport.abort()
    return answer


def wrong(answer: bytes) -> str:
    """What is not right about an answer; "" for nothing."""
    if answer and not FIRST.match(answer):
        return "it is no HTTP"
    return "a fault of the server" if FAULT.search(answer) else ""


async def one(server: Server, name: str, chance: random.Random) -> None:
    pieces = Grammar(chance).connection()
    try:
        answer = await talk(server.port, pieces)
    except TimeoutError:
        raise AssertionError(f"{name}: no end: {pieces}") from None
    assert not wrong(answer), f"{name}: {wrong(answer)}: {pieces} was answered {answer[:500]!r}"


async def play(server: Server) -> int:
    """How many connections were played."""
    count = 0
    group: set[asyncio.Task[None]] = set()
    for name, chance in cases():
        count += 1
        group.add(asyncio.create_task(one(server, name, chance)))
        if len(group) >= AT_ONCE:
            done, group = await asyncio.wait(group, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    await asyncio.gather(*group)
    return count


@pytest.mark.timeout(MAX_SECONDS)
def test_requests_and_handshakes_of_every_kind(alone: Server) -> None:
    for number in range(WARM):
        asyncio.run(talk(alone.port, Grammar(random.Random(number)).connection()))
    before = memory(alone.pid)
    assert asyncio.run(play(alone)) > min(SECONDS, 10)
    log = alone.log.read_text(errors="replace")
    found = [line for line in log.splitlines() if any(trace in line for trace in TRACES)]
    assert found == []
    assert alone.ready()
    assert memory(alone.pid) - before < GROWTH
