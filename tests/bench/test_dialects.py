"""The load client in Protobuf, by HTTP streaming and by server-sent events: it counts, and sees loss and repeats."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.bench import native
from tests.bench.load import LoadClient, payload
from tests.bench.servers.base import Publishing

CLIENTS = 5
LOST, REPEATED = 7, 3  # of each so many publications, one
Framing = Callable[[bytes], bytes]


def frame(opcode: int, content: bytes) -> bytes:
    """A server's WebSocket frame."""
    size = len(content)
    return bytes((0x80 | opcode,)) + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + content


def varint(number: int) -> bytes:
    """A number below 2**14."""
    return bytes((number,)) if number < 128 else bytes((number & 0x7F | 0x80, number >> 7))


def reply(content: bytes) -> bytes:
    """A reply in Protobuf behind its length, in a frame."""
    return frame(2, varint(len(content)) + content)


def push(message: bytes) -> bytes:
    """A publication in Protobuf."""
    data = b"\x22" + varint(len(message)) + message
    body = b"\x12\x01a" + b"\x22" + varint(len(data)) + data
    return reply(b"\x22" + varint(len(body)) + body)


def chunk(content: bytes) -> bytes:
    """A chunk of a response."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def in_json(message: bytes) -> bytes:
    """A publication in JSON, as a line."""
    return b'{"push":{"channel":"a","pub":{"data":%b}}}\n' % message


JOINED = b'{"id":1,"connect":{"session":"s","node":"n"}}\n', b'{"id":2,"subscribe":{}}\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
# By dialect and transport: what a client is answered, and how a publication is framed.
KINDS: dict[tuple[str, str], tuple[bytes, Framing]] = {
    ("protobuf", "websocket"): (UPGRADED + reply(b"\x08\x01\x2a\x00") + reply(b"\x08\x02\x32\x00"), push),
    ("centrifuge", "stream"): (CHUNKED + b"".join(map(chunk, JOINED)), lambda message: chunk(in_json(message))),
    ("centrifuge", "events"): (
        CHUNKED + b"".join(chunk(b"data: " + line + b"\n") for line in JOINED),
        lambda message: chunk(b":\n\ndata: " + in_json(message) + b"\n"),
    ),
}


@contextmanager
def careless(answer: bytes, framed: Framing) -> Iterator[tuple[int, int]]:
    """A server that loses and repeats: the ports of its clients and of its publisher, who sends it lines."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = listeners[0].getsockname()[1], listeners[1].getsockname()[1]
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(*listeners, answer, framed, over))
    thread.start()
    try:
        yield ports
    finally:
        over.set()
        thread.join()


def _serve(
    clients: socket.socket, publishers: socket.socket, answer: bytes, framed: Framing, over: threading.Event
) -> None:
    joined: list[socket.socket] = []
    lines: list[socket.socket] = []
    waiting, count = b"", 0
    while not over.is_set():
        for ready in select.select([clients, publishers, *joined, *lines], [], [], 0.05)[0]:
            if ready in (clients, publishers):
                (joined if ready is clients else lines).append(ready.accept()[0])
            elif ready in lines:
                waiting += (data := ready.recv(65536))
                if not data:
                    lines.remove(ready)
                    ready.close()
                *whole, waiting = waiting.split(b"\n")
                for line in whole:
                    count += 1
                    copies = 0 if count % LOST == 0 else 2 if count % REPEATED == 0 else 1
                    for one in joined:
                        one.sendall(framed(line) * copies)
            elif b"\r\n\r\n" in (said := _heard(ready)):
                ready.sendall(answer)
            elif not said:
                joined.remove(ready)
                ready.close()
    for one in (clients, publishers, *joined, *lines):
        one.close()


def _heard(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(("dialect", "transport"), list(KINDS))
def test_loss_and_repeats_are_seen(dialect: str, transport: str) -> None:
    if reason := native.missing():
        pytest.skip(reason)
    with careless(*KINDS[dialect, transport]) as (port, lines), LoadClient() as load:
        words = {"dialect": dialect, "transport": transport, "ports": port, "rooms": 1, "members": 1000, "sources": 1}
        texts = {"path": "/", "hello": "hello", "again": "", "beside": "/", "then": ""}
        load.tell("setup", words | {name: text.encode().hex() for name, text in texts.items()})
        load.publish_through(Publishing(lines, payload().encode() + b"\n"))
        load.connect(CLIENTS)
        figures = load.run(1, rate=70, drain=0.5)
    assert (figures["published"], figures["errors"], figures["dropped"]) == (70, 0, 0), figures["complaint"]
    assert figures["lost"] == 70 // LOST * CLIENTS
    assert figures["gaps"] == (70 // LOST - 1) * CLIENTS  # behind the last one comes nothing
    assert figures["late"] == sum(n % LOST > 0 for n in range(REPEATED, 71, REPEATED)) * CLIENTS
