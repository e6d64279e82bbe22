"""What the fuzzers share: a seed, a time, and streams of frames and commands that are made from it.

`FLOTILLA_FUZZ_SECONDS` (10) is how long each of them runs, `FLOTILLA_FUZZ_SEED` (1) what it tries; `FLOTILLA_FUZZ_CASE`
repeats one case. A failure names the seed and the case.
"""

import json
import os
import random
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.raw_frames import BINARY, CLOSE, PING, PONG, TEXT, frame

SECONDS = float(os.environ.get("FLOTILLA_FUZZ_SECONDS") or 10)
SEED = int(os.environ.get("FLOTILLA_FUZZ_SEED") or 1)
CASE = os.environ.get("FLOTILLA_FUZZ_CASE")
MAX_SECONDS = 4 * SECONDS + 900  # seconds a test may take


def cases(least: int = 0) -> Iterator[tuple[str, random.Random]]:
    """Cases with their names for as long as is wanted, `least` of them at any rate."""
    over = time.monotonic() + SECONDS
    number = int(CASE) if CASE else 0
    while True:
        yield f"FLOTILLA_FUZZ_SEED={SEED} FLOTILLA_FUZZ_CASE={number}", random.Random(f"{SEED} {number}")
        number += 1
        if CASE or (number >= least and time.monotonic() >= over):
            return


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """Data as it may come: whole, or cut at any bytes."""
    if chance.random() < 0.2:
        return [data]
    if chance.random() < 0.1:
        return [data[i : i + 1] for i in range(len(data))]
    ends = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(8)))
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


# Frames

RSV1 = 0x40
TEXTS = ("", "a", "{}", "{}\n{}", "é", "🚀" * 9, '{"id":1}', "x" * 125, "x" * 126, "x" * 700)
SIZES = (0, 1, 2, 124, 125, 126, 127, 300, 999, 1000, 1001, 65535, 65536, 2**31, 2**63 - 1, 2**63, 2**64 - 1)


def stream(chance: random.Random, deflates: bool = False) -> bytes:
    """Frames of one client: mostly proper ones, fragments with control frames between them, sometimes a broken one.
    One that `deflates` sends compressed messages, too."""
    wire = b""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        roll = chance.random()
        wire += message(chance, deflates) if roll < 0.6 else control(chance) if roll < 0.85 else odd(chance)
    if len(wire) < 100 and chance.random() < 0.1:
        wire *= chance.choice((2, 30, 100))
    if chance.random() < 0.15 and wire:
        wire = damaged(chance, wire)
    return wire


def message(chance: random.Random, deflates: bool) -> bytes:
    """A message, perhaps in fragments, perhaps with others between them that may or may not be there."""
    payload = chance.choice(TEXTS).encode() if chance.random() < 0.7 else chance.randbytes(chance.randrange(40))
    opcode = TEXT if chance.random() < 0.8 else BINARY
    bits = RSV1 if deflates and chance.random() < 0.7 else 0
    if bits:
        payload = deflated(chance, payload)
    parts = [payload] if chance.random() < 0.6 else pieces(chance, payload)
    wire = b""
    for number, part in enumerate(parts):
        part_bits = bits if not number or chance.random() < 0.01 else 0
        wire += frame(0 if number else opcode, part, final=number == len(parts) - 1, bits=part_bits)
        if chance.random() < 0.2:
            wire += control(chance)
    return wire


def deflated(chance: random.Random, payload: bytes) -> bytes:
    """A payload, compressed in some way that is allowed, mostly; sometimes one that becomes large, or never was one."""
    roll = chance.random()
    if roll < 0.1:
        return chance.randbytes(chance.randrange(30))
    if roll < 0.2:
        payload = chance.choice((payload * 20, b"{}" * 500, b"{}" * 40_000))
    stream = zlib.compressobj(chance.randrange(10), zlib.DEFLATED, -chance.randrange(9, 16))
    if roll < 0.3:
        return stream.compress(payload) + stream.flush(zlib.Z_FINISH) + b"\x00" * chance.randrange(2)
    half = len(payload) // 2
    begun = stream.compress(payload[:half])
    if chance.random() < 0.3:
        begun += stream.flush(chance.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)))
    return (begun + stream.compress(payload[half:]) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def control(chance: random.Random) -> bytes:
    """A ping, a pong, or (seldom) a close."""
    payload = chance.randbytes(chance.choice((0, 0, 1, 4, 124, 125)))
    if chance.random() < 0.03:
        code = struct.pack("!H", chance.choice((1000, 1001, 1005, 999, 3000, 4999, 5000, chance.randrange(65536))))
        return frame(CLOSE, chance.choice((b"", b"\x03", code, code + b"bye", code + b"\xff")))
    return frame(PING if chance.random() < 0.6 else PONG, payload)


def odd(chance: random.Random) -> bytes:
    """What hardly anybody sends: any opcode and bits, unmasked, a length in another form, one without its payload."""
    payload, final = chance.randbytes(chance.randrange(9)), chance.random() < 0.7
    match chance.randrange(8):
        case 0:
            return frame(chance.randrange(16), payload, final=final, bits=chance.choice((0, 0, 0, 0x10, 0x40, 0x70)))
        case 1:
            return frame(TEXT, payload, masked=False)
        case 2:
            return bytes((0x80 * final | chance.randrange(3), 0xFE)) + struct.pack("!H", chance.choice(SIZES) % 2**16)
        case 3:
            return bytes((0x80 * final | chance.randrange(3), 0xFF)) + struct.pack("!Q", chance.choice(SIZES))
        case 4:
            return frame(PING, b"x" * chance.choice((125, 126, 200)), final=final)
        case 5:
            return frame(0, payload, final=final)
        case 6:
            return frame(0, final=False) * chance.randrange(50)
        case _:
            return frame(chance.choice((TEXT, BINARY)), payload, final=False)


def damaged(chance: random.Random, wire: bytes) -> bytes:
    """With a bit changed, a byte more or less, or the end missing."""
    place = chance.randrange(len(wire))
    match chance.randrange(4):
        case 0:
            return wire[:place]
        case 1:
            return wire[:place] + wire[place + 1 :]
        case 2:
            return wire[:place] + chance.randbytes(1) + wire[place:]
        case _:
            return wire[:place] + bytes((wire[place] ^ 1 << chance.randrange(8),)) + wire[place + 1 :]


@dataclass
class Reading:
    """What a stream means, by the plainest reading of RFC 6455 that there is: all of it at once, and slowly."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    violation: int = 0  # the code with which it must be refused; 0 when it need not be
    complete: bool = False  # it ends between two frames, and between two messages


def meaning(wire: bytes, most: int, inflates: bool = False) -> Reading:
    """The messages and control frames of a stream, up to its end or the first violation."""
    reading, kind, parts, compressed = Reading(), 0, b"", False
    while len(wire) >= 2:
        final, bits, opcode, length = wire[0] >> 7, wire[0] & 0x70, wire[0] & 0x0F, wire[1] & 0x7F
        allowed = (0, RSV1) if inflates and opcode in (1, 2) else (0,)
        improper = bits not in allowed or opcode not in (0, 1, 2, 8, 9, 10) or not wire[1] & 0x80
        if improper or (opcode >= 8 and (not final or length > 125)) or (opcode < 8 and (opcode == 0) != (kind != 0)):
            reading.violation = 1002
            return reading
        more = {126: 2, 127: 8}.get(length, 0)
        if len(wire) < 2 + more:
            return reading
        if more:
            length = int.from_bytes(wire[2 : 2 + more], "big")
            if length < (126 if more == 2 else 65536) or length >= 2**63:
                reading.violation = 1002
                return reading
        if opcode < 8 and len(parts) + length > most:
            reading.violation = 1009
            return reading
        start = 2 + more + 4
        if len(wire) < start + length:
            return reading
        mask, masked, wire = wire[start - 4 : start], wire[start : start + length], wire[start + length :]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
        if opcode >= 8:
            reading.messages.append((opcode, payload))
            continue
        if not kind:
            compressed = bits == RSV1
        kind, parts = kind or opcode, parts + payload
        if final:
            reading.violation = fault(parts, most) if compressed else 0
            if reading.violation:
                return reading
            reading.messages.append((kind, inflated(parts) if compressed else parts))
            kind, parts = 0, b""
    reading.complete = not wire and not kind
    return reading


def inflated(message: bytes) -> bytes:
    """What a compressed message was, as far as it can be read. Raises zlib.error."""
    rest, found = message + b"\x00\x00\xff\xff", b""
    while True:
        stream = zlib.decompressobj(-15)
        found += stream.decompress(rest)
        if not stream.eof:
            return found
        rest = stream.unused_data


def fault(message: bytes, most: int) -> int:
    """The code with which a compressed message must be refused, or 0. What becomes too large is refused for that, even
    where it is broken further on."""
    try:
        return 1009 if len(inflated(message)) > most else 0
    except zlib.error:
        stream, found = zlib.decompressobj(-15), 0
        for at in range(len(message)):
            try:
                found += len(stream.decompress(message[at : at + 1]))
            except zlib.error:
                break
        return 1009 if found > most else 1007


# Commands

METHODS = {
    "connect": ("token", "data", "name", "version", "headers", "subs"),
    "subscribe": ("channel", "token", "data", "recover", "epoch", "offset", "flag", "tf", "type", "delta"),
    "unsubscribe": ("channel",),
    "publish": ("channel", "data"),
    "presence": ("channel",),
    "presence_stats": ("channel",),
    "history": ("channel", "limit", "since", "reverse"),
    "rpc": ("method", "data"),
    "send": ("data",),
    "refresh": ("token",),
    "sub_refresh": ("channel", "token"),
    "ping": (),
    "sing": ("song",),
}
CHANNELS = ("open:a", "asked:garden", "$open:a", "small:a", "members:a", "bare:a", "closed:a", "#7", "limited:a#7", "ü")
HARD = (
    *("null", "true", "0", "-1", "1e400", "-1e400", "1e-999", "-0", "1.5", "4294967296", "9223372036854775808", "01"),
    *("1" + "0" * 5000, '""', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"ü🚀"', '"' + "x" * 300 + '"', "NaN"),
    *("[" * 400 + "]" * 400, "[" * 3000 + "]" * 3000, '{"a":' * 1500 + "1" + "}" * 1500, '{"a":1,"a":2}', "tru"),
    *("-Infinity", "+1", "'a'", '"\\x"', '"a', "[", "{]", "", "\t1 ", "{}", "[]", '{"offset":5,"epoch":"x"}'),
)
PLAUSIBLE = {
    "channel": tuple(map(json.dumps, CHANNELS)),
    "method": ('"echo"', '"missing"'),
    "recover": ("true", "false"),
    "epoch": ('"xyz"', '""'),
    "offset": ("0", "1", "4", str(2**63), str(2**64)),
    "since": ('{"offset":0}', '{"offset":3,"epoch":"x"}'),
    "limit": ("0", "-1", "5", "1000000"),
    "data": ("1", '{"a":[1,2]}', '"text"', "null", "[]"),
}


def messages(chance: random.Random) -> list[str]:
    """What one client sends after its connect: a few messages of one or more commands each, whole or damaged."""
    return [lines(chance) for _ in range(chance.choice((1, 1, 2, 4)))]


def lines(chance: random.Random) -> str:
    """One message."""
    count = chance.choice((1, 1, 1, 2, 3, 10, 100, 300))
    text = "\n".join(command(chance) for _ in range(count)) if chance.random() < 0.9 else "{}\n" * count
    if chance.random() < 0.1 and text:
        place = chance.randrange(len(text))
        text = (
            text[:place] + chance.choice(("", "\n", "\0", '"', "\\", "}", "🚀")) + text[place + chance.randrange(2) :]
        )
    return text


def command(chance: random.Random) -> str:
    """A command, most often one that could be meant."""
    method = chance.choice(sorted(METHODS))
    members = [f'"{name}":{value(chance, name)}' for name in METHODS[method] if chance.random() < 0.7]
    body = "{" + ",".join(members) + "}" if chance.random() < 0.95 else chance.choice(HARD)
    id = str(chance.randrange(1, 99)) if chance.random() < 0.9 else chance.choice(HARD)
    return "{" + ("" if method == "send" else f'"id":{id},') + f'"{method}":{body}' + "}"


def value(chance: random.Random, name: str) -> str:
    """A value of a member."""
    plausible = PLAUSIBLE.get(name, HARD)
    return chance.choice(plausible if chance.random() < 0.85 else HARD)
