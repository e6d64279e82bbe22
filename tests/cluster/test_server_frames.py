"""The cases of the Autobahn test suite, by their meaning, over raw sockets against a process of ours.

The numbers are the suite's: 1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closing, 9 sizes.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.support.generic_server import MAX_SECONDS, Raw, Server, close
from tests.cluster.support.processes import eventually
from tests.raw_frames import BINARY, CLOSE, PING, PONG, TEXT, frame

Case = tuple[str, bytes | list[bytes], list[tuple[int, bytes]], int | None]

SIZES = [0, 125, 126, 127, 128, 65535, 65536]
DONE = close(1000)
KOSME = "κόσμε".encode()
BAD_TEXTS = {
    "6.3.1": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    "6.6.1 a part of a character": KOSME[:1],
    "6.8.1 five bytes": b"\xf8\x88\x80\x80\x80",
    "6.8.2 six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "6.10.1 above the last": b"\xf7\xbf\xbf\xbf",
    "6.11.5 just above the last": b"\xf4\x90\x80\x80",
    "6.12.1 a continuation": b"\x80",
    "6.14.1 incomplete": b"\xc0",
    "6.18.1 overlong": b"\xc0\xaf",
    "6.18.5 overlong": b"\xe0\x80\xaf",
    "6.20.1 surrogate": b"\xed\xa0\x80",
    "6.20.7 surrogate": b"\xed\xbf\xbf",
    "6.21.1 surrogates": b"\xed\xa0\x80\xed\xb0\x80",
}
GOOD_TEXTS = {
    "6.2.1": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "6.5.1": KOSME,
    "6.7.1 nul": b"\0",
    "6.9.1": b"\x7f",
    "6.9.3": b"\xef\xbf\xbf",
    "6.11.1": b"\xed\x9f\xbf",
    "6.11.4 the last": b"\xf4\x8f\xbf\xbf",
    "6.22.1 no character": b"\xef\xbf\xbe",
    "6.23.1 replacement": b"\xef\xbf\xbd",
}


def cases() -> list[Case]:
    """(name, what the client sends, messages and pongs that it gets, the code with which it is closed).

    An application answers in its own time: what it says comes before the last of several pieces, and before `DONE`.
    """
    return [
        *((f"1.1 text {n}", frame(TEXT, b"*" * n) + DONE, [(TEXT, b"*" * n)], 1000) for n in SIZES),
        *((f"1.2 binary {n}", frame(BINARY, b"\xfe" * n) + DONE, [(BINARY, b"\xfe" * n)], 1000) for n in SIZES),
        ("2.1 empty ping", frame(PING) + DONE, [(PONG, b"")], 1000),
        ("2.2 ping", frame(PING, b"Hello") + DONE, [(PONG, b"Hello")], 1000),
        ("2.3 binary ping", frame(PING, b"\x00\xff\xfe") + DONE, [(PONG, b"\x00\xff\xfe")], 1000),
        ("2.4 ping of 125", frame(PING, b"\xfe" * 125) + DONE, [(PONG, b"\xfe" * 125)], 1000),
        ("2.5 ping of 126", frame(PING, b"\xfe" * 126) + DONE, [], 1002),
        ("2.7 pong unasked", frame(PONG) + frame(PONG, b"x") + DONE, [], 1000),
        ("2.9 pong, ping", frame(PONG, b"x") + frame(PING, b"y") + DONE, [(PONG, b"y")], 1000),
        (
            "2.10 ten pings",
            b"".join(frame(PING, b"%d" % n) for n in range(10)) + DONE,
            [(PONG, b"%d" % n) for n in range(10)],
            1000,
        ),
        *(
            (f"3 bits {bits >> 4}", [frame(TEXT, b"a"), frame(op, b"b", bits=bits) + frame(PING)], [(TEXT, b"a")], 1002)
            for bits in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70)
            for op in (TEXT, BINARY, PING, CLOSE)
        ),
        *(
            (f"4 opcode {op}", [frame(TEXT, b"a"), frame(op, b"x" * size) + frame(PING)], [(TEXT, b"a")], 1002)
            for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
            for size in (0, 3)
        ),
        ("5.1 fragmented ping", frame(PING, b"a", final=False) + frame(0, b"b"), [], 1002),
        ("5.2 fragmented pong", frame(PONG, b"a", final=False) + frame(0, b"b"), [], 1002),
        ("5.3 fragments", frame(TEXT, b"one", final=False) + frame(0, b"two") + DONE, [(TEXT, b"onetwo")], 1000),
        (
            "5.6 ping between",
            frame(TEXT, b"one", final=False) + frame(PING, b"p") + frame(0, b"two") + DONE,
            [(PONG, b"p"), (TEXT, b"onetwo")],
            1000,
        ),
        ("5.9 nothing to go on with", frame(0, b"a") + frame(TEXT, b"b"), [], 1002),
        ("5.10 the same, whole", frame(0, b"a"), [], 1002),
        ("5.12 the same, in parts", frame(0, b"a", final=False) + frame(TEXT, b"b"), [], 1002),
        ("5.15 one too many", [_parts(b"a", b"b"), frame(0, b"c", final=False)], [(TEXT, b"ab")], 1002),
        ("5.18 a text in a text", frame(TEXT, b"a", final=False) + frame(TEXT, b"b"), [], 1002),
        (
            "5.19 pings between",
            frame(TEXT, b"1", final=False)
            + frame(0, b"2", final=False)
            + frame(PING, b"p")
            + frame(0, b"3", final=False)
            + frame(PING, b"q")
            + frame(0, b"4")
            + DONE,
            [(PONG, b"p"), (PONG, b"q"), (TEXT, b"1234")],
            1000,
        ),
        ("6.1 empty", frame(TEXT) + DONE, [(TEXT, b"")], 1000),
        ("6.1.2 empty parts", _parts(b"", b"", b"") + DONE, [(TEXT, b"")], 1000),
        ("6.1.3 empty but for one", _parts(b"", b"middle", b"") + DONE, [(TEXT, b"middle")], 1000),
        ("6.2 a character in two", _parts(KOSME[:1], KOSME[1:]) + DONE, [(TEXT, KOSME)], 1000),
        ("6.4 bad at last", _parts(KOSME, b"\xf4\x90\x80\x80", b"edited"), [], 1007),
        *((name, frame(TEXT, text) + DONE, [(TEXT, text)], 1000) for name, text in GOOD_TEXTS.items()),
        *((name, frame(TEXT, text) + frame(PING), [], 1007) for name, text in BAD_TEXTS.items()),
        *((f"{name}, in parts", _parts(*(text[i : i + 1] for i in range(len(text)))), [], 1007)
          for name, text in BAD_TEXTS.items()),
        ("7.1.1 message and close", frame(TEXT, b"a") + DONE, [(TEXT, b"a")], 1000),
        ("7.1.2 two closes", DONE + DONE, [], 1000),
        ("7.1.3 ping after close", DONE + frame(PING), [], 1000),
        ("7.1.4 text after close", DONE + frame(TEXT, b"a"), [], 1000),
        ("7.1.5 close amid fragments", frame(TEXT, b"a", final=False) + DONE + frame(0, b"b"), [], 1000),
        ("7.3.1 empty close", close(), [], None),
        ("7.3.2 close of one byte", frame(CLOSE, b"\x03"), [], 1002),
        ("7.3.4 with a reason", close(1000, b"Hello"), [], 1000),
        ("7.3.5 with the longest", close(1000, b"*" * 123), [], 1000),
        ("7.3.6 with too long a one", close(1000, b"*" * 124), [], 1002),
        ("7.5.1 reason not UTF-8", close(1000, b"\xce\xba\xed\xa0\x80"), [], 1007),
        *((f"7.7 code {code}", close(code), [], code)
          for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)),
        *((f"7.9 code {code}", close(code), [], 1002)
          for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)),
        ("no mask", frame(TEXT, b"a", masked=False) + DONE, [], 1002),
        ("length in too long a form", b"\x81\xfe\0\x05abcdefghi", [], 1002),
        ("too big", b"\x81\xff" + (2**20 + 1).to_bytes(8, "big") + b"abcd", [], 1009),
        ("too big together", _parts(b"x" * 2**19, b"x" * (2**19 + 1)), [], 1009),
        ("9.3 just fits", _parts(*[b"x" * 1024] * 1024) + DONE, [(TEXT, b"x" * 2**20)], 1000),
    ]  # fmt: skip


def _parts(*parts: bytes, opcode: int = TEXT) -> bytes:
    last = len(parts) - 1
    return b"".join(frame(0 if i else opcode, part, final=i == last) for i, part in enumerate(parts))


def pieces(data: bytes | list[bytes]) -> list[bytes]:
    """What is sent one after the other."""
    if isinstance(data, list):
        return data
    return [data.removesuffix(DONE), DONE] if data.endswith(DONE) else [data]


def whole(client: Raw, data: bytes) -> None:
    client.send(data)


def byte_by_byte(client: Raw, data: bytes) -> None:
    """Or nearly: what is long goes in pieces of 997."""
    size = 1 if len(data) < 500 else 997
    for start in range(0, len(data), size):
        client.send(data[start : start + size])


@pytest.mark.parametrize("way", [whole, byte_by_byte])
def test_cases(server: Server, way: Callable[[Raw, bytes], None]) -> None:
    wrong = []
    for name, data, expected, code in cases():
        *before, last = pieces(data)
        with Raw(server.port).open() as client:
            for piece in before:
                way(client, piece)
            found = [client.frame() for _ in expected if before]
            way(client, last)
            *more, end = client.up_to_close()
            answer = int.from_bytes(end[1][:2], "big") if end[1] else None
            if (found + more, end[0], answer) != (expected, CLOSE, code):
                wrong.append((name, found, end))
    assert not wrong


async def test_nothing_is_left_of_them(server: Server) -> None:
    with Raw(server.port).open() as client:
        client.send(frame(3) * 100_000)
        assert [opcode for opcode, _ in client.up_to_close()] == [CLOSE]

    def left() -> dict[str, Any]:
        return {name: count for name, count in server.ask("census").items() if count}

    await eventually(lambda: not left(), "every connection is gone", MAX_SECONDS)
