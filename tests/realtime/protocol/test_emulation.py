"""What clients say in requests of their own, in JSON and in Protobuf."""

import pytest

from flotilla.realtime.protocol.emulation import Emulated, read

NODE, SESSION, DATA = b"\x0a\x01n", b"\x12\x01s", b"\x1a\x02\x01\x00"


def test_json() -> None:
    assert read(b'{"session":"s","node":"n","data":"{}\\n{}","more":1}', protobuf=False) == Emulated("s", "n", "{}\n{}")


def test_protobuf_with_fields_in_any_order_and_unknown_ones() -> None:
    unknown = b"\x20\xff\x01" + b"\x2a\x03abc" + b"\x31" + bytes(8) + b"\x3d" + bytes(4)
    assert read(DATA + unknown + SESSION + NODE, protobuf=True) == Emulated("s", "n", b"\x01\x00")


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"1", b"{", b"\xff", b'{"session":"s","node":"n","data":1}', b'{"session":"s","node":"n"}',
     b'{"session":"s","node":"n","data":""}', b'{"session":"s","node":"n","data":"\\ud800"}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_request_in_json(body: bytes) -> None:
    with pytest.raises(ValueError):
        read(body, protobuf=False)


@pytest.mark.parametrize(
    "body",
    [b"", NODE, NODE + SESSION, NODE + SESSION + b"\x1a\x05ab", NODE + SESSION + DATA + b"\x22", b"\xff" * 12,
     NODE + SESSION + DATA + b"\x23", b"\x0a\x01\xff" + SESSION + DATA, b"\x02\x01a",
     NODE + SESSION + DATA + b"\x21\0"],
)  # fmt: skip
def test_what_is_no_request_in_protobuf(body: bytes) -> None:
    with pytest.raises(ValueError):
        read(body, protobuf=True)
