"""JSON commands of any kind from clients that are connected.

Each message is answered or ends the connection with a code of the protocol; a process of ours serves others, logs no
traceback and does not grow.
"""

import contextlib
import json
import random

import pytest
import websockets

from tests.cluster.support.fuzzed import play
from tests.cluster.support.generic_server import Server
from tests.cluster.support.raw_client import RawClient, token
from tests.fuzzing import MAX_SECONDS, messages

CODES = {None, 1009, 3005, 3013, 3500, 3501, 3508}

pytestmark = pytest.mark.timeout(MAX_SECONDS)


async def outcome(url: str, sent: list[str]) -> int | None:
    """Connect, send messages, ask for an echo; the code of the close, None when it was answered instead."""
    async with RawClient(url) as client:
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.send({"id": 1_000_000, "connect": {"token": token("7")}})
            for message in sent:
                await client.socket.send(message)
            await client.send({"id": 1_000_001, "rpc": {"method": "echo", "data": 1}})
        with contextlib.suppress(AssertionError):  # a close below 3000 has no push before it
            await client.wait(
                lambda m: m.get("id") == 1_000_001 or "disconnect" in m.get("push", {}), "an answer or an end"
            )
        if any(message.get("id") == 1_000_001 for message in client.received):
            return None
        return (await client.closed())[0]


async def test_commands_of_any_kind_over_sockets(server: Server) -> None:
    async def attempt(chance: random.Random) -> str:
        sent = messages(chance)
        code = await outcome(server.url, sent)
        return "" if code in CODES else f"{code}: {json.dumps(sent)[:2000]}"

    await play(server, attempt, counted="sessions")
