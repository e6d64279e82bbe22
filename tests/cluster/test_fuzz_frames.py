"""Frames of any kind over real sockets: a process of ours closes as RFC 6455 says, serves others, logs no traceback and
does not grow.
"""

import asyncio
import contextlib
import os
import random
from pathlib import Path

import pytest

from tests.cluster.support.generic_server import Raw, Server, close
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient
from tests.cluster.test_hostile_input import Witness
from tests.fuzzing import MAX_SECONDS, cases, meaning, pieces, stream
from tests.raw_frames import CLOSE

MAX = 65536  # bytes of a message
GROWTH = 40 * 2**20  # bytes
WARM = 100  # cases after which the process has what it needs
CODES = {1000, 1001, 1002, 1007, 1009, 3001, 3013, 3500, 3501, 3502, 3506}

pytestmark = pytest.mark.timeout(MAX_SECONDS)


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def attempt(port: int, chance: random.Random) -> str:
    """Send a stream and a close; what was wrong with the answer, if anything was."""
    wire = stream(chance) + close(1000)
    reading = meaning(wire, MAX)
    with Raw(port) as raw:
        raw.open("/generic/echo" if chance.random() < 0.3 else "/connection/websocket")
        for piece in pieces(chance, wire):
            raw.send(piece)
        if not reading.violation and all(opcode != CLOSE for opcode, _ in reading.messages):
            return ""  # the close was part of something that never became whole
        opcode, payload = raw.up_to_close()[-1]
    code = int.from_bytes(payload[:2], "big") if payload else 1000
    if opcode != CLOSE:
        return "closed without a word"
    return "" if code in CODES or 3000 <= code < 5000 else f"closed with {code}"


async def test_frames_of_any_kind_over_sockets(server: Server) -> None:
    pid = server.ask("state")["pid"]
    witness = Witness(server.log)
    before = 0
    async with RawClient(server.url) as client:
        await client.connect("8")
        for number, (name, chance) in enumerate(cases(WARM + 1)):
            with contextlib.suppress(ConnectionError):
                assert not (fault := await asyncio.to_thread(attempt, server.port, chance)), f"{fault}: {name}"
            if number == WARM:
                before = resident(pid)
            if number % 20 == 0:
                await client.round_trip()
                client.received.clear()
                witness.check()
        await eventually(lambda: server.ask("census")["websockets"] == 1, "all others are gone")
    witness.check()
    assert resident(pid) - before < GROWTH
