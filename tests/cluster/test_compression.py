"""permessage-deflate over real sockets: foreign clients, odd offers, bombs, and one frame for all who agreed alike."""

import json
import os
import zlib
from collections.abc import Callable, Iterator

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

from tests.cluster.support import sdk
from tests.cluster.support.generic_server import Raw, close, upgrade
from tests.cluster.support.harness import CONFIG, PLAIN, Cluster, running
from tests.cluster.support.http_client import forget_peak, memory, peak
from tests.cluster.support.protobuf_client import ProtobufClient
from tests.cluster.support.raw_client import RawClient, token
from tests.raw_frames import BINARY, CLOSE, PING, PONG, TEXT, frame

pytestmark = pytest.mark.skipif(bool(PLAIN), reason="other servers do their own compression")

RSV1 = 0x40
PATH = "/connection/websocket"
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
TABLE = [{"id": number, "name": f"row {number}", "state": "open", "price": number * 1.5} for number in range(200)]
CONNECT = b'{"id":1,"connect":{"token":"%s"}}' % token("ann").encode()
BYTES_A_SECOND = 3_000_000


@pytest.fixture(scope="module")
def squeezing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances that compress."""
    config = CONFIG | {"compression": True, "ping_interval": 60, "pong_timeout": 30, "connect_timeout": 30}
    config |= {"max_bytes_per_second": BYTES_A_SECOND}
    with running(Cluster(tmp_path_factory.mktemp("squeezing"), config, "flotilla", "flotilla")) as made:
        yield made


@pytest.fixture
def port(squeezing: Cluster) -> int:
    return squeezing[0].port


def deflate(payload: bytes) -> bytes:
    """As a client compresses a message."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(payload: bytes, bits: int = 15) -> bytes:
    """As a client without a context inflates a message."""
    return zlib.decompressobj(-bits).decompress(payload + b"\x00\x00\xff\xff")


def compressed(text: str | bytes, opcode: int = TEXT) -> bytes:
    """A client's compressed message."""
    return frame(opcode, deflate(text if isinstance(text, bytes) else text.encode()), bits=RSV1)


class Agreed(Raw):
    """A raw client that has agreed on compression."""

    def __init__(self, port: int, offer: str = OFFER, user: str = "raw") -> None:
        super().__init__(port)
        self.user = user
        self.open(PATH, offer)

    def take_frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its payload, as they are."""
        head = self.take(2)
        size = head[1]
        if size > 125:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        return head[0], self.take(size)

    def take_text(self) -> str:
        """The next message."""
        first, payload = self.take_frame()
        return (inflate(payload) if first & RSV1 else payload).decode()

    def code(self) -> int:
        """The code of the close that comes."""
        while (found := self.take_frame())[0] != 0x80 | CLOSE:
            pass
        return int.from_bytes(found[1][:2], "big")

    def join(self, channel: str) -> None:
        """Connect and subscribe."""
        commands = [{"id": 1, "connect": {"token": token(self.user)}}, {"id": 2, "subscribe": {"channel": channel}}]
        self.send(compressed("\n".join(map(json.dumps, commands))))
        said = ""
        while '"id":2' not in said:
            said += self.take_text() + "\n"
        assert '"error"' not in said, said


async def test_clients_of_both_sdks_compress_as_they_come(
    squeezing: Cluster, make_client: sdk.MakeClient, fresh: Callable[[str], str]
) -> None:
    """They offer it by themselves: large publications both ways, history, recovery on another instance."""
    channel = fresh("quiet")
    client = make_client(squeezing[0].url, lambda _: token("sdk"))
    other = make_client(squeezing[1].url, lambda _: token("other"))
    for one in (client, other):
        await one.connect()
        await one.subscribe(channel)
        await one.seen.event("subscribed", channel)
    await client.publish(channel, TABLE)
    await client.publish(channel, {"small": 1})
    for one in (client, other):
        await one.seen.event("publication", channel, nth=2)
        assert one.seen.published(channel) == [TABLE, {"small": 1}]
    found = await client.history(channel, limit=-1)
    assert [publication["data"] for publication in found["publications"]] == [TABLE, {"small": 1}]


@pytest.mark.parametrize("window", [None, 9, 12, 15])
async def test_a_foreign_implementation_reads_and_is_read(
    squeezing: Cluster, fresh: Callable[[str], str], window: int | None
) -> None:
    channel = fresh("quiet")
    offered = [ClientPerMessageDeflateFactory(server_max_window_bits=window, client_max_window_bits=True)]
    async with RawClient(squeezing[0].url, extensions=offered) as client:
        agreed = client.socket.protocol.extensions
        assert [type(one) for one in agreed] == [PerMessageDeflate]
        await client.connect("ann")
        await client.subscribe(channel)
        await client.call("publish", channel=channel, data=TABLE)
        await client.push("pub", channel, data=TABLE)
        text = os.urandom(10_000).hex() * 2
        for data in (text, {"small": 1}):
            await client.call("publish", channel=channel, data=data)
            await client.push("pub", channel, data=data)


def payload(raw: Raw) -> bytes:
    """Of the next frame of a connection that has not agreed."""
    found = raw.frame()
    assert found is not None
    return found[1]


def test_all_who_agreed_alike_get_the_same_few_bytes(port: int, fresh: Callable[[str], str]) -> None:
    channel = fresh("quiet")
    offers = (OFFER, OFFER, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9")
    clients = [Agreed(port, offer, user=f"u{number}") for number, offer in enumerate(offers)]
    plain = Raw(port).open(PATH)
    try:
        for client in clients:
            client.join(channel)
        plain_commands = [{"id": 1, "connect": {"token": token("p")}}, {"id": 2, "subscribe": {"channel": channel}}]
        plain.send(frame(TEXT, "\n".join(map(json.dumps, plain_commands)).encode()))
        while b'"id":2' not in payload(plain):
            pass
        publication = {"id": 3, "publish": {"channel": channel, "data": TABLE}}
        plain.send(frame(TEXT, json.dumps(publication).encode()))
        (first, one), (_, two), (narrow, three) = [client.take_frame() for client in clients]
        while b'"pub"' not in (told := payload(plain)):
            pass
        told = next(line for line in told.split(b"\n") if b'"pub"' in line)
        assert first == narrow == 0xC1
        assert one == two
        assert inflate(one) == inflate(three, 9) == told
        assert len(one) < len(told) / 5
    finally:
        for client in (*clients, plain):
            client.socket.close()


def test_small_messages_and_control_frames_are_not_compressed(port: int) -> None:
    with Agreed(port) as client:
        client.send(frame(PING, b"x" * 125))
        assert client.take_frame() == (0x80 | PONG, b"x" * 125)
        client.send(compressed(CONNECT + b'\n{"id":2,"rpc":{"method":"echo","data":1}}'))
        said = [client.take_frame()]
        while b'"id":2' not in said[-1][1]:
            said.append(client.take_frame())
        assert {first for first, _ in said} <= {0x81, 0xC1}
        assert said[-1][0] == 0x81 or len(inflate(said[-1][1])) >= 256
        client.send(close(1000))
        assert client.take_frame()[0] == 0x80 | CLOSE


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "server_no_context_takeover; client_no_context_takeover"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "server_no_context_takeover"),
        ("permessage-deflate; server_max_window_bits=10", "server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=99", None),
        ("permessage-deflate; nonsense", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ('permessage-deflate; x="', None),
        (";;;===,,,", None),
        ("permessage-deflate;" * 300, None),
    ],
)
def test_offers_of_every_kind_open_a_connection(port: int, offer: str, answer: str | None) -> None:
    head = answer_to(port, offer)
    assert ("permessage-deflate" in head) is (answer is not None)
    assert answer is None or answer in head


def test_without_the_setting_nothing_is_agreed_on(cluster: Cluster) -> None:
    assert "extensions" not in answer_to(cluster[0].port, "permessage-deflate")
    with Agreed(cluster[0].port) as client:
        client.send(compressed("{}"))
        assert client.code() == 1002


def answer_to(port: int, offer: str) -> str:
    """The head of the answer to a handshake, which must open a connection."""
    with Raw(port) as raw:
        raw.send(upgrade(PATH, f"Sec-WebSocket-Extensions: {offer}"))
        head = raw.head().decode().lower()
    assert head.startswith("http/1.1 101 ")
    return head


def in_fragments(message: bytes, *sizes: int) -> bytes:
    """A compressed message cut anywhere, with a ping behind each fragment."""
    whole, wire, at = deflate(message), b"", 0
    for number, size in enumerate(sizes):
        bits = 0 if number else RSV1
        wire += frame(0 if number else TEXT, whole[at : at + size], final=False, bits=bits) + frame(PING)
        at += size
    return wire + frame(0, whole[at:])


def test_a_compressed_message_may_come_in_fragments(port: int) -> None:
    with Agreed(port) as client:
        client.send(in_fragments(CONNECT, 0, 1, 7, 0, 20))
        assert [client.take_frame() for _ in range(5)] == [(0x80 | PONG, b"")] * 5
        assert '"client"' in client.take_text()


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(PING, b"a", bits=RSV1), 1002),
        (frame(CLOSE, b"\x03\xe8", bits=RSV1), 1002),
        (frame(TEXT, b"a", bits=0x20), 1002),
        (frame(TEXT, deflate(b"{}"), bits=RSV1 | 0x10), 1002),
        (frame(TEXT, deflate(b"{}"), final=False, bits=RSV1) + frame(0, b"", bits=RSV1), 1002),
        (frame(TEXT, b"\xff" * 9, bits=RSV1), 1007),
        (compressed(b"\xff"), 1007),
        (compressed(b"", TEXT), 3501),  # an empty message is nobody's
        (compressed(b"x" * 65537), 1009),
        (compressed(b"\x00" * 50_000_000), 1009),
        (compressed(b"{}", BINARY), 3506),
    ],
)
def test_what_is_against_the_rules_is_refused(port: int, wire: bytes, code: int) -> None:
    with Agreed(port) as client:
        client.send(wire)
        assert client.code() == code


def test_bombs_cost_no_memory_and_others_are_served(squeezing: Cluster, port: int) -> None:
    """None of them is ever in memory, nor what all of them have sent."""
    pid, bomb = squeezing[0].pid, compressed(b"\x00" * 60_000_000)
    assert len(bomb) < 65536
    forget_peak(pid)
    before = memory(pid)
    for _ in range(30):
        with Agreed(port) as client:
            client.send(bomb)
            assert client.code() == 1009
    assert peak(pid) < before + 20_000_000
    with Agreed(port) as client:
        client.send(compressed(CONNECT))
        assert '"client"' in client.take_text()


def test_what_messages_become_counts_for_who_sends_too_much(port: int) -> None:
    """Few bytes on the wire, and far more than a connection may send when they are read."""
    message = compressed(b'{"send":{"data":"%s"}}' % (b"x" * 60_000))
    assert len(message) < 200
    with Agreed(port) as client:
        client.send(compressed(CONNECT))
        client.take_text()
        client.send(message * (2 * BYTES_A_SECOND // 60_000 + 20))
        assert client.code() == 3013


async def test_protobuf_is_compressed_as_well(squeezing: Cluster, fresh: Callable[[str], str]) -> None:
    channel = fresh("quiet")
    offered = [ClientPerMessageDeflateFactory(client_max_window_bits=True)]
    async with ProtobufClient(squeezing[0].url, extensions=offered) as client, RawClient(squeezing[1].url) as other:
        assert [type(one) for one in client.socket.protocol.extensions] == [PerMessageDeflate]
        await client.connect("ann")
        await other.connect("ben")
        for one in (client, other):
            await one.subscribe(channel)
        for publisher, data in ((other, TABLE), (client, TABLE[:50])):
            await publisher.call("publish", channel=channel, data=data)
            for one in (client, other):
                await one.push("pub", channel, data=data)
