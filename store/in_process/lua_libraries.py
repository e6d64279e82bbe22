"""The libraries `cmsgpack` and `struct` that Redis gives to scripts, as far as numbers, strings and tables go."""

import struct
from collections.abc import Callable
from functools import lru_cache
from re import compile as pattern
from typing import Any

import msgpack

_PART = pattern(rb"([<>=!])|([bBhHlLTfdx ])|([iIc])([0-9]*)")
_WIDTHS = {1: "b", 2: "h", 4: "i", 8: "q"}
_PLAIN = {"b": "b", "B": "B", "h": "h", "H": "H", "l": "q", "L": "Q", "T": "Q", "f": "f", "d": "d", "x": "x"}


class Packer:
    """Writes Lua values as MessagePack, with the lengths of strings as Redis's library writes them."""

    def __init__(self, lua_type: Callable[[Any], str | None]) -> None:
        self._lua_type = lua_type

    def pack(self, *values: Any) -> bytes:
        """Some values, one after another."""
        return b"".join(map(self._one, values))

    def _one(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return _head(len(value), (0xA0, 32), 0xD9, 0xDA, 0xDB) + value
        if self._lua_type(value) == "table":
            return self._table(value)
        if isinstance(value, float):
            if value.is_integer():
                value = int(value)
            elif struct.unpack("f", struct.pack("f", value))[0] == value:
                return bytes(msgpack.packb(value, use_single_float=True))
        return bytes(msgpack.packb(value))

    def _table(self, table: Any) -> bytes:
        pairs = list(table.items())
        if sorted(key for key, _ in pairs if isinstance(key, int)) == list(range(1, len(pairs) + 1)):
            parts = [self._one(table[number]) for number in range(1, len(pairs) + 1)]
            return _head(len(pairs), (0x90, 16), None, 0xDC, 0xDD) + b"".join(parts)
        parts = [self._one(part) for pair in pairs for part in pair]
        return _head(len(pairs), (0x80, 16), None, 0xDE, 0xDF) + b"".join(parts)


def _head(length: int, fixed: tuple[int, int], byte: int | None, two: int, four: int) -> bytes:
    if length < fixed[1]:
        return bytes((fixed[0] | length,))
    if byte is not None and length < 256:
        return bytes((byte, length))
    return struct.pack(">BH", two, length) if length < 65536 else struct.pack(">BI", four, length)


def unpack(packed: bytes) -> Any:
    """The first value, with bytes for strings."""
    return msgpack.unpackb(packed, raw=True, strict_map_key=False)


@lru_cache(maxsize=64)
def _format(text: bytes) -> struct.Struct:
    """A format of Lua's `struct` as Python has it. Raises ValueError for what it has not."""
    order, parts, place = "<", [], 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None:
            raise ValueError(f"invalid format option '{chr(text[place])}'")
        mark, plain, sized, width = (piece.decode() if piece else "" for piece in part.groups())
        if mark in ("<", ">"):
            order = mark
        elif sized == "c":
            parts.append(f"{width or 1}s")
        elif sized:
            letter = _WIDTHS[int(width or 4)]
            parts.append(letter.upper() if sized == "I" else letter)
        elif plain.strip():
            parts.append(_PLAIN[plain])
        place = part.end()
    return struct.Struct(order + "".join(parts))


def struct_pack(text: bytes, *values: Any) -> bytes:
    """`struct.pack`: values as bytes."""
    form = _format(text)
    floats = [letter in "fd" for letter in form.format[1:] if letter.isalpha() and letter != "x"]
    if len(values) < len(floats):
        raise ValueError("bad argument to 'pack' (number expected, got no value)")
    whole = [
        value if as_float or isinstance(value, bytes) else int(value)
        for value, as_float in zip(values, floats, strict=False)
    ]
    return form.pack(*whole)


def struct_unpack(text: bytes, data: bytes, place: float = 1) -> tuple[Any, ...]:
    """`struct.unpack`: the values from a place (1 is the first byte), and the place after them."""
    form, begin = _format(text), int(place) - 1
    if begin < 0 or begin + form.size > len(data):
        raise ValueError("data string too short")
    return (*form.unpack_from(data, begin), begin + form.size + 1)


def struct_size(text: bytes) -> int:
    """`struct.size`: how many bytes a format takes."""
    return _format(text).size
