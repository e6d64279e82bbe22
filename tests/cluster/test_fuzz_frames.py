"""Frames of any kind over real sockets: a process of ours closes as RFC 6455 says, serves others, logs no traceback and
does not grow.
"""

import asyncio
import contextlib
import random

import pytest

from tests.cluster.support.fuzzed import play
from tests.cluster.support.generic_server import Raw, Server, close
from tests.fuzzing import MAX_SECONDS, meaning, pieces, stream
from tests.raw_frames import CLOSE

MAX = 65536  # bytes of a message
MAX_OF_OTHERS = 2**20
CODES = {1000, 1001, 1002, 1007, 1009, 3001, 3013, 3500, 3501, 3502, 3506}

pytestmark = pytest.mark.timeout(MAX_SECONDS)


def attempt(port: int, chance: random.Random) -> str:
    """Send a stream and a close; what was wrong with the answer, if anything was. Raises ConnectionError."""
    is_ours = chance.random() < 0.7
    inflates = is_ours and chance.random() < 0.5
    wire = stream(chance, inflates or chance.random() < 0.1) + close(1000)
    reading = meaning(wire, MAX if is_ours else MAX_OF_OTHERS, inflates)
    offer = ["Sec-WebSocket-Extensions: permessage-deflate"] if inflates else []
    with Raw(port) as raw:
        raw.open("/connection/websocket" if is_ours else "/generic/echo", *offer)
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
    async def tried(chance: random.Random) -> str:
        with contextlib.suppress(ConnectionError):
            return await asyncio.to_thread(attempt, server.port, chance)
        return ""

    await play(server, tried, counted="websockets")
