"""Clients without WebSockets that send anything: first messages, requests for sessions of their own, of nobody and of
none, queries. Each is answered with a status that says what was wrong, or by its response; a process of ours serves
others, logs no traceback and does not grow.
"""

import asyncio
import contextlib
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from tests.cluster.support.fuzzed import play
from tests.cluster.support.generic_server import Server
from tests.cluster.support.raw_client import token
from tests.cluster.support.streamed import Streamed, asked, protobuf_field, request
from tests.fuzzing import MAX_SECONDS, damaged, messages

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(MAX_SECONDS)]

STATUSES = {200, 204, 400, 401, 403, 404, 405, 408, 413, 414, 429, 431}
ENDS = (EOFError, asyncio.IncompleteReadError, ConnectionError, ValueError)
OCTETS = "application/octet-stream"
WORDS = ("", "1", "a.b", "%", "%00", "&", "=", "{}", "[", '"', "\\ud800", "é", "x" * 300, "-1.e", "open:a=1.x", "null")


def first_message(chance: random.Random) -> str:
    connect = json.dumps({"id": 1, "connect": {"token": token("7")}})
    return connect if chance.random() < 0.5 else "\n".join([connect, *messages(chance)])


def opening(chance: random.Random) -> bytes:
    """A request for a response that does not end."""
    said = first_message(chance)
    if chance.random() < 0.1:
        said = said[: chance.randrange(len(said))]
    if chance.random() < 0.5:
        return request("POST", "/connection/http_stream", said.encode(errors="replace"))
    return request("GET", f"/connection/sse?cf_connect={quote(said[:8000].encode(errors='replace'))}")


def listening(chance: random.Random) -> bytes:
    """A query of somebody who only listens."""
    names = ("token", "channel", "channels", "subs", "data", "events", "last_event_id", "x")
    good = {"token": token("7"), "channel": "open:a", "events": "channels", "subs": '{"open:b":{}}'}
    parts = []
    for _ in range(chance.randrange(6)):
        name = chance.choice(names)
        value = good.get(name, "") if chance.random() < 0.5 else chance.choice(WORDS)
        parts.append(f"{name}={quote(value) if chance.random() < 0.9 else value}")
    path = "/connection/uni_sse?" + "&".join(parts).replace(" ", "").encode("ascii", "ignore").decode()
    headers = {"Last_Event_ID": quote(chance.choice(WORDS))} if chance.random() < 0.3 else {}
    return request("GET", path, **headers)


def emulation(chance: random.Random, connected: dict[str, Any]) -> bytes:
    """A request for a session that is there, or for nobody."""
    said = dict(connected)
    for name in ("session", "node"):
        if chance.random() < 0.2:
            said[name] = chance.choice((said[name][:-1], said[name][::-1], *WORDS))
    data = "\n".join(messages(chance)).encode(errors="replace").decode()
    if chance.random() < 0.3:
        body = (
            protobuf_field(1, said["node"].encode())
            + protobuf_field(2, said["session"].encode())
            + protobuf_field(3, data.encode())
        )
        body = damaged(chance, body) if chance.random() < 0.5 else body
        return request("POST", "/emulation", body, Content_Type=OCTETS)
    body = json.dumps({"session": said["session"], "node": said["node"], "data": data}).encode()
    body = damaged(chance, body) if chance.random() < 0.3 else body
    return request("POST", "/emulation", body, Content_Type=chance.choice(("application/json", "text/plain", "x")))


async def status_of(port: int, data: bytes) -> int:
    """The status of an answer; 0 for a connection that was cut off."""
    with contextlib.suppress(*ENDS):
        async with asked(port, data) as answer:
            return answer.status
    return 0


async def talk(port: int, stream: Streamed, chance: random.Random) -> str:
    """Speak for a client whose response this is; "" when all was in order."""
    connected = None
    with contextlib.suppress(*ENDS, TimeoutError):
        async with asyncio.timeout(5):
            connected = await stream.find("connect")
    if not isinstance(connected, dict) or "session" not in connected:
        return ""
    for _ in range(chance.randrange(4)):
        data = emulation(chance, connected)
        status = await status_of(port, data)
        if status not in STATUSES:
            return f"{status} to {data[:2000]!r}"
    return ""


async def test_requests_of_any_kind(server: Server) -> None:
    async def attempt(chance: random.Random) -> str:
        data = listening(chance) if chance.random() < 0.3 else opening(chance)
        with contextlib.suppress(*ENDS):
            async with asked(server.port, data) as stream:
                if stream.status not in STATUSES:
                    return f"{stream.status} to {data[:2000]!r}"
                if stream.status == 200 and b"uni_sse" not in data:
                    return await talk(server.port, stream, chance)
        return ""

    await play(server, attempt, counted="sessions")
