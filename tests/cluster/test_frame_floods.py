"""Clients that send more frames than anybody needs, against a process of ours.

They are closed as the protocol that they speak says, and others are served meanwhile.
"""

import asyncio
import json

import pytest

from tests.cluster.support.generic_server import Raw, Server
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.raw_frames import CLOSE, PING, PONG, TEXT, frame

MOST = 4_000_000  # bytes: fewer than a connection may send in a second
MANY = 20_000  # frames: several seconds' worth
FLOODS = {
    "pings": frame(PING),
    "full pings": frame(PING, b"x" * 125),
    "pongs": frame(PONG),
    "empty fragments": frame(0, final=False),
    "fragments of a byte": frame(0, b"{", final=False),
}
MESSAGES = {
    "pongs of the protocol": frame(TEXT, b"{}"),
    "two pongs of the protocol in each": frame(TEXT, b"{}\n{}"),
    "commands that take effort to read": frame(TEXT, b'{"id":5,"rpc":{"data":' + b"[" * 2000 + b"]" * 2000 + b"}}"),
    "commands that change nothing": frame(TEXT, b'{"id":5,"unsubscribe":{"channel":"open:none"}}'),
}
CONNECT = frame(TEXT, json.dumps({"id": 1, "connect": {"token": token("7")}}).encode())
TOO_MANY = 3013


def begun(flood: bytes) -> bytes:
    """What must stand before a flood."""
    return frame(TEXT, final=False) if flood[0] == 0 else b""


async def flooded(server: Server, path: str, data: bytes) -> list[tuple[int, bytes]]:
    """Send something while a witness talks to the same process; the frames that came back."""

    def attack() -> list[tuple[int, bytes]]:
        with Raw(server.port) as raw:
            raw.open(path)
            if path != "/generic/echo":
                raw.send(CONNECT)
                assert raw.frame() is not None
            raw.send(data)
            return raw.up_to_close()

    async with RawClient(server.url) as witness:
        await witness.connect("8")
        attacking = asyncio.create_task(asyncio.to_thread(attack))
        while not attacking.done():
            await witness.round_trip()
        return await attacking


def code_of(frames: list[tuple[int, bytes]]) -> int:
    """The code of the close at the end."""
    opcode, payload = frames[-1]
    assert opcode == CLOSE, "it was cut off"
    return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_an_application_of_any_kind_is_rid_of_a_flood(server: Server, flood: bytes) -> None:
    """Of what it never sees; of messages it is given no more than it takes."""
    frames = await flooded(server, "/generic/echo", begun(flood) + flood * MANY)
    assert code_of(frames) == 1008


@pytest.mark.parametrize("flood", [*FLOODS.values(), *MESSAGES.values()], ids=[*FLOODS, *MESSAGES])
async def test_a_client_of_the_protocol_is_told_that_it_was_too_much(server: Server, flood: bytes) -> None:
    """By a push as well as by the code."""
    frames = await flooded(server, "/connection/websocket", begun(flood) + flood * min(MANY, MOST // len(flood)))
    assert code_of(frames) == TOO_MANY
    pushes = [json.loads(line) for opcode, text in frames if opcode == TEXT for line in text.split(b"\n")]
    assert pushes[-1]["push"]["disconnect"]["code"] == TOO_MANY


@pytest.mark.parametrize("line", [b"{}", b'{"id":5,"unsubscribe":{"channel":"open:none"}}', b'{"send":{}}'])
async def test_many_commands_in_one_message_are_too_much(server: Server, line: bytes) -> None:
    """None of them is even read."""
    lines = b"\n".join([line] * (65_000 // (len(line) + 1)))
    frames = await flooded(server, "/connection/websocket", frame(TEXT, lines))
    assert [opcode for opcode, _ in frames] == [TEXT, CLOSE]
    assert code_of(frames) == TOO_MANY


async def test_messages_full_of_commands_count_as_their_commands(server: Server) -> None:
    """Each message is allowed."""
    frames = await flooded(server, "/connection/websocket", frame(TEXT, b"\n".join([b"{}"] * 200)) * 100)
    assert code_of(frames) == TOO_MANY


async def test_pings_of_a_client_that_never_reads_end_too(server: Server) -> None:
    with Raw(server.port, receive_buffer=2048) as raw:
        raw.open()
        raw.send(frame(PING, b"x" * 125) * MANY)
        await eventually(lambda: not server.ask("census")["websockets"], "it was cut off")


async def test_a_batch_of_an_honest_client_is_answered(server: Server) -> None:
    """As many commands as may wait, in as many frames as may come in a second."""
    async with RawClient(server.url) as client:
        await client.connect("7")
        for first in (0, 200, 400):
            commands = [{"id": first + n + 10, "unsubscribe": {"channel": "open:none"}} for n in range(200)]
            await client.socket.send("\n".join(map(json.dumps, commands)))
        for number in range(600):
            await client.socket.send(json.dumps({"id": number + 1000, "unsubscribe": {"channel": "open:none"}}))
        await client.wait(lambda m: m.get("id") == 1599, "the last answer")
        assert {m["id"] for m in client.received if "unsubscribe" in m} >= {*range(10, 610), *range(1000, 1600)}
