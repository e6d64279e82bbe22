"""Whatever comes in, over WebSocket, as bytes on the wire, or over HTTP: it has its answer or its code, and nothing is
unhandled (invariant 6). The instance's log is the witness: a traceback in it is a defect.
"""

import asyncio
import contextlib
import json
import os
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import websockets
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cluster.support.harness import API_KEY, Cluster
from tests.cluster.support.processes import PATIENCE
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.witness import Witness

few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

HARD = (
    *("null", "true", "0", "-1", "1e400", "-1e400", "1e-999", "-0", "1.5", "4294967296", "9223372036854775808"),
    *("1" + "0" * 400, '""', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"ü🚀"', '"' + "x" * 300 + '"'),
    *("[" * 400 + "]" * 400, "[" * 3000 + "]" * 3000, '{"a":' * 1500 + "1" + "}" * 1500, '{"a":1,"a":2}'),
    *("NaN", "-Infinity", "tru", "01", "+1", "'a'", '"\\x"', '"a', "[", "{]", ""),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
).map(json.dumps)
ANY = st.sampled_from(HARD) | JSON
CHANNELS = st.sampled_from(
    [
        "open:a",
        "asked:garden",
        "$open:a",
        "small:a",
        "members:a",
        "bare:a",
        "closed:a",
        "#7",
        "limited:a#7",
        "",
        "ü",
        "x:",
    ]
).map(json.dumps)
PLAUSIBLE: dict[str, st.SearchStrategy[str]] = {
    "channel": CHANNELS,
    "recover": st.sampled_from(["true", "false"]),
    "epoch": st.text(max_size=9).map(json.dumps),
    "offset": st.integers(0, 2**63 - 1).map(str),
    "flag": st.integers().map(str),
    "limit": st.integers().map(str),
    "reverse": st.sampled_from(["true", "false"]),
    "since": st.integers(0, 2**63 - 1).map('{{"offset":{}}}'.format),
    "method": st.sampled_from(['"echo"', '"missing"']),
}
FIELDS = {
    "subscribe": ("channel", "data", "recover", "epoch", "offset", "flag", "tf", "type", "token"),
    "publish": ("channel", "data"),
    "history": ("channel", "limit", "since", "reverse"),
    "presence": ("channel",),
    "presence_stats": ("channel",),
    "unsubscribe": ("channel",),
    "sub_refresh": ("channel", "token"),
    "refresh": ("token",),
    "rpc": ("method", "data"),
    "send": ("data",),
    "connect": ("token", "data", "subs", "headers"),
    "ping": (),
    "sing": (),
}


@st.composite
def objects(draw: st.DrawFn, names: tuple[str, ...]) -> str:
    """A JSON object with some of these members, most of them plausible."""
    members = [(name, draw(PLAUSIBLE.get(name, ANY) if draw(st.integers(0, 9)) else ANY)) for name in names]
    return "{" + ",".join(f'"{name}":{value}' for name, value in members if draw(st.integers(0, 4))) + "}"


@st.composite
def commands(draw: st.DrawFn) -> str:
    """One command, most often one that could be meant."""
    method = draw(st.sampled_from(sorted(FIELDS)))
    body = draw(objects(FIELDS[method]) if draw(st.integers(0, 9)) else ANY)
    id = draw(st.integers(1, 99).map(str) if draw(st.integers(0, 9)) else ANY)
    return "{" + ("" if method == "send" else f'"id":{id},') + f'"{method}":{body}' + "}"


@pytest.fixture
def witness(cluster: Cluster) -> Iterator[Witness]:
    """The log from here on; at the end the instance must be well."""
    made = Witness(cluster[0].log)
    yield made
    made.check()
    assert cluster[0].ready()


async def answered(client: RawClient, id: int) -> None:
    """Wait for the answer to a command, or for the end."""
    await client.wait(lambda m: m.get("id") == id or "disconnect" in m.get("push", {}), "an answer or an end")


async def converse(cluster: Cluster, messages: list[str | bytes], **connect: Any) -> int | None:
    """Connect, send, ask for an echo; returns the close code, None when it was answered instead."""
    async with RawClient(cluster[0].url) as client:
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.send({"id": 1_000_000, "connect": {"token": token("7")} | connect})
            for message in messages:
                await client.socket.send(message)
            await client.send({"id": 1_000_001, "rpc": {"method": "echo", "data": 1}})
        await answered(client, 1_000_001)
        if any(message.get("id") == 1_000_001 for message in client.received):
            return None
        return (await client.closed())[0]


@few
@given(messages=st.lists(st.lists(commands(), min_size=1, max_size=4).map("\n".join), max_size=5))
@example(messages=['{"id":1,"rpc":{"method":"echo","data":1e400}}'])
@example(messages=['{"send":{"data":"\\ud800"}}'])
@example(messages=['{"id":1,"subscribe":{"channel":"asked:garden","data":-1e400}}'])
def test_commands_of_any_kind(cluster: Cluster, witness: Witness, messages: list[str]) -> None:
    code = asyncio.run(converse(cluster, list(messages)))
    assert code in (None, 3500, 3501, 3005)
    witness.check()


@few
@given(messages=st.lists(st.binary(max_size=200) | st.text(max_size=200), max_size=3))
def test_messages_of_any_kind(cluster: Cluster, witness: Witness, messages: list[str | bytes]) -> None:
    sent = [m.encode(errors="replace").decode() if isinstance(m, str) else m for m in messages]
    assert asyncio.run(converse(cluster, list(sent))) in (None, 3501, 3506)
    witness.check()


CLAIMS = ("sub", "exp", "nbf", "iat", "aud", "info", "b64info", "data", "channels", "subs", "channel", "expire_at")
VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=9) | st.just([]) | st.just({})
NESTED = VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(st.sampled_from(["open:a", "x:y", ""]), VALUES)


@few
@given(claims=st.dictionaries(st.sampled_from((*CLAIMS, "override", "meta")), NESTED, max_size=4))
def test_signed_tokens_of_any_content(cluster: Cluster, witness: Witness, claims: dict[str, Any]) -> None:
    async def attempt() -> None:
        async with RawClient(cluster[0].url) as client:
            await client.send({"id": 1, "connect": {"token": token(**claims)}})
            await answered(client, 1)

    with contextlib.suppress(TypeError):  # PyJWT refuses to sign some
        token(**claims)
        asyncio.run(attempt())
    witness.check()


def frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """One frame as it goes over the wire."""
    size, mask = len(payload), 0x80 * masked
    length = bytes([mask | size]) if size < 126 else bytes([mask | 126]) + struct.pack(">H", size)
    key = os.urandom(4) if masked else b""
    body = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)) if masked else payload
    return bytes([final << 7 | reserved << 4 | opcode]) + length + key + body


FRAMES = st.one_of(
    commands().map(lambda text: frame(1, text.encode())),
    commands().map(lambda text: frame(1, text[:9].encode(), final=False) + frame(9, b"") + frame(0, text[9:].encode())),
    st.builds(partial(frame, 9), st.binary(max_size=200)),
    st.builds(partial(frame, 10), st.binary(max_size=125)),
    st.builds(partial(frame, 8), st.binary(max_size=40)),
    st.integers(0, 65535).map(lambda code: frame(8, struct.pack(">H", code) + b"x")),
    st.builds(partial(frame, 1), st.binary(max_size=60)),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=60), final=st.booleans(), reserved=st.integers(0, 7)),
    st.builds(partial(frame, 1, masked=False), st.binary(max_size=60)),
    st.integers(0, 2**64 - 1).map(lambda size: b"\x81\xff" + struct.pack(">Q", size)),
    st.binary(max_size=60),
)
HEADERS = st.sampled_from(
    [
        *(
            "Origin: null",
            "Origin: http://[::1",
            "Origin: http://[",
            "Origin: http://a:99999",
            "Origin: \xff",
        ),
        *("Cookie: sessionid=\xff", "Cookie: =;;;", 'Cookie: sessionid="..\\000"', "Cookie: sessionid=" + "a" * 3000),
        *("Sec-WebSocket-Protocol: \xff", "Sec-WebSocket-Protocol: ,", "Sec-WebSocket-Extensions: \xff;;=,"),
        *("Host: evil.example", "Host: [::1", "X-Forwarded-For: \xff", "Content-Length: -1", "Transfer-Encoding: x"),
        *("Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: \xff", "Expect: 100-continue", ": x", "a b: c", "\xff: \xff"),
    ]
)
TARGETS = st.sampled_from(
    [*["/connection/websocket"] * 6, "/connection/websocket?%ff%00", "/connection/%ff", "//", "*", "/x" * 2000, "\xff"]
)


async def exchange(port: int, sent: bytes, size: int) -> None:
    """Send bytes in pieces, read until nothing more comes, and go without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError, TimeoutError):
        for start in range(0, len(sent), size):
            writer.write(sent[start : start + size])
            await writer.drain()
        async with asyncio.timeout(0.1):
            while await reader.read(65536):
                pass
    writer.transport.abort()


@few
@given(
    target=TARGETS,
    headers=st.lists(HEADERS, max_size=2),
    frames=st.lists(FRAMES, max_size=5),
    size=st.sampled_from([3, 50, 10**6]),
)
def test_bytes_of_any_kind(
    cluster: Cluster, witness: Witness, target: str, headers: list[str], frames: list[bytes], size: int
) -> None:
    lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", *headers]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
    connect = frame(1, json.dumps({"id": 1, "connect": {"token": token("7")}}).encode())
    asyncio.run(exchange(cluster[0].port, "\r\n".join(lines).encode("latin-1") + connect + b"".join(frames), size))
    witness.check()


API = ("publish", "broadcast", "presence", "history", "history_remove", "disconnect", "unsubscribe", "channels", "info")
PARAMETERS = (*("channel", "data", "b64data", "tags", "idempotency_key", "limit", "since", "reverse", "user", "client"),
              *("channels", "whitelist", "disconnect", "pattern"))  # fmt: skip


@few
@given(
    st.sampled_from((*API, "batch", "sing")),
    objects(PARAMETERS) | ANY,
    st.sampled_from(
        [{}, {}, {"X-API-Key": "\xff"}, {"Host": "evil.example"}, {"Host": "a:b"}, {"Cookie": "sessionid=\xff"}]
    ),
)
def test_requests_of_any_kind(cluster: Cluster, witness: Witness, method: str, body: str, odd: dict[str, str]) -> None:
    if method == "batch":
        body = f'{{"commands":[{{"publish":{body}}},{{"history":{body}}}]}}'
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"} | odd
    request = urllib.request.Request(f"{cluster[0].http}/api/{method}", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer = json.load(response)
            assert answer.get("error", {}).get("code") != 100, answer
    except urllib.error.HTTPError as error:
        assert error.code in (400, 401, 404)
        error.close()
    witness.check()
