"""A client's WebSocket frames, made by hand: proper ones, and others."""

import struct

MASK = b"\x12\x34\x56\x78"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, bits: int = 0, masked: bool = True) -> bytes:
    """A client's frame. `bits`: the reserved ones, as they stand in the first byte."""
    size, mask = len(payload), 0x80 if masked else 0
    head = bytes((0x80 * final | bits | opcode,))
    if size < 126:
        head += bytes((mask | size,))
    elif size < 1 << 16:
        head += bytes((mask | 126,)) + struct.pack("!H", size)
    else:
        head += bytes((mask | 127,)) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
