"""What clients send in Protobuf: what is no command ends the connection, as in JSON."""

import pytest
from msgspec import Raw

from flotilla.realtime.protocol.codes import DisconnectCode, DisconnectError
from flotilla.realtime.protocol.commands import Command
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.speedups.pure.protobuf import sized, varint

pytestmark = pytest.mark.usefixtures("implementation")


def encoded(**fields: object) -> bytes:
    """A command, behind its length."""
    written: bytes = CLASSES["Command"](**fields).SerializeToString()
    return PROTOBUF.joined([written])


def read(message: bytes, most: int = 256) -> list[Command]:
    return PROTOBUF.read(message, most)[0]


def refusal(message: bytes, most: int = 256) -> int:
    with pytest.raises(DisconnectError) as refused:
        PROTOBUF.read(message, most)
    return refused.value.code


PUBLISH = {"channel": "room:1", "data": b'{"a": 1}'}


def test_a_publish_is_read_alone_and_among_others() -> None:
    alone = encoded(id=7, publish=PUBLISH)
    for message in (alone, alone + encoded(id=8, presence={"channel": "x"})):
        first = read(message)[0]
        assert first.method == "publish"
        assert first.publish is not None
        assert (first.id, first.publish.channel, bytes(first.publish.data)) == (7, "room:1", b'{"a": 1}')


def test_the_empty_command_is_a_pong() -> None:
    (command,) = read(b"\x00")
    assert command.is_pong


def test_payloads_are_the_bytes_that_came() -> None:
    data = bytes(range(256)) + b"\n\r\n"
    for method in ("publish", "rpc", "send"):
        (command,) = read(encoded(id=1, **{method: {"data": data}}))
        assert bytes(getattr(command, method).data) == data


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x80",  # a length that is not whole
        b"\x05\x08\x01",  # less than the length says
        encoded(id=1, ping={}) + b"\xff" * 11,  # a number of more than 64 bits
        encoded(id=2**32, presence={"channel": "x"}),
        encoded(id=2**32, publish=PUBLISH),
        PROTOBUF.joined([b"\x08\x01" + sized(0x3A, sized(0x0A, b"\xff\xfe") + sized(0x12, b"1"))]),  # no UTF-8
        PROTOBUF.joined([b"\x08\x01" + sized(0x42, sized(0x0A, b"\xff\xfe"))]),
        PROTOBUF.joined([b"\x08\x01\x3a\x05\x0a\x7fab"]),  # a channel that ends behind its message
        PROTOBUF.joined([b"\x0c\x01"]),  # a group that ends and never began
        PROTOBUF.joined([b"\x07\x01"]),  # a kind of field that there is not
    ],
)
def test_what_is_no_command_ends_the_connection(message: bytes) -> None:
    assert refusal(message) == DisconnectCode.BAD_REQUEST


def test_text_is_no_message() -> None:
    with pytest.raises(DisconnectError):
        PROTOBUF.read("{}", 256)


def test_too_many_commands_are_refused_before_any_is_read() -> None:
    assert len(read(b"\x00" * 256)) == 256
    assert refusal(b"\x00" * 257) == DisconnectCode.TOO_MANY_REQUESTS
    assert refusal(b"\x00" * 256 + b"\x01\xff") == DisconnectCode.TOO_MANY_REQUESTS


def test_unknown_fields_are_skipped() -> None:
    """At every level, of every kind; also in a publish, which is otherwise read by hand."""
    unknown = b"\xa0\x06\x01" + b"\xa1\x06" + b"\x00" * 8 + b"\xa5\x06\x00\x00\x00\x00"
    publish = sized(0x0A, b"room:1") + sized(0x12, b"1") + unknown + b"\x22\x01k"
    (command,) = read(PROTOBUF.joined([unknown + b"\x08\x05" + sized(0x3A, publish) + unknown]))
    assert command.publish is not None
    assert (command.id, command.publish.channel, bytes(command.publish.data)) == (5, "room:1", b"1")


def test_fields_in_any_order_are_read() -> None:
    publish = sized(0x12, b"1") + sized(0x0A, b"room:1")
    (command,) = read(PROTOBUF.joined([sized(0x3A, publish) + b"\x08\x05"]))
    assert command.publish is not None
    assert (command.id, command.publish.channel, bytes(command.publish.data)) == (5, "room:1", b"1")


def test_the_first_request_is_the_one_that_counts() -> None:
    (command,) = read(encoded(id=1, publish=PUBLISH, connect={"token": "t"}))
    assert command.method == "connect"
    assert command.publish is None


def test_a_filter_nested_beyond_measure_is_refused() -> None:
    node = b""
    for _ in range(200):
        node = sized(0x32, node)
    message = PROTOBUF.joined([b"\x08\x01" + sized(0x2A, sized(0x0A, b"x") + sized(0x6A, node))])
    assert refusal(message) == DisconnectCode.BAD_REQUEST


def test_what_takes_long_to_read_is_counted() -> None:
    """As in JSON: filters, and payloads with half surrogates, which are read again."""
    half = b'"' + b"x" * 1000 + b'\\ud83d"'
    pair = half.replace(b"\\ud83d", b"\\ud83d\\ude00")
    assert PROTOBUF.read(encoded(id=1, publish={"channel": "x", "data": half}), 1)[1] == len(half)
    assert PROTOBUF.read(encoded(id=1, rpc={"data": half}), 1)[1] == len(half)
    assert PROTOBUF.read(encoded(id=1, publish={"channel": "x", "data": pair}), 1)[1] == 0
    filtered = encoded(id=1, subscribe={"channel": "x", "tf": {"key": "k" * 500, "cmp": "ex"}})
    assert PROTOBUF.read(filtered, 1)[1] > 500


def test_positions_have_64_bits() -> None:
    top = 2**64 - 1
    (one, two) = read(
        encoded(id=1, subscribe={"channel": "x", "recover": True, "offset": top})
        + encoded(id=2, history={"channel": "x", "limit": -1, "since": {"offset": top, "epoch": "e"}})
    )
    assert one.subscribe is not None
    assert one.subscribe.offset == 2**63 - 1  # as far as any stream comes
    assert two.history is not None
    assert two.history.since is not None
    assert (two.history.limit, two.history.since.offset) == (-1, 2**63 - 1)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**14 - 1, 2**14, 2**32 - 1, 2**63, 2**64 - 1])
def test_numbers_are_written_as_the_library_does(number: int) -> None:
    assert CLASSES["StreamPosition"](offset=number).SerializeToString() == (b"\x08" + varint(number) if number else b"")


def test_a_raw_payload_is_not_looked_at() -> None:
    (command,) = read(encoded(id=1, connect={"data": b"\xff", "headers": {"a": "b"}}))
    assert command.connect is not None
    assert isinstance(command.connect.data, Raw)
    assert command.connect.headers == {"a": "b"}
