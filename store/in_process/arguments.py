"""How arguments are read; what cannot be read is refused in Redis's own words."""

import re
from collections.abc import Sequence
from fnmatch import translate

from flotilla.store.in_process.replies import Error

SYNTAX = "ERR syntax error"
NOT_INTEGER = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
_INTEGER = re.compile(rb"-?(0|[1-9][0-9]*)")
_LEAST, _MOST = -(2**63), 2**63 - 1


def integer(text: bytes, otherwise: str = NOT_INTEGER) -> int:
    """A whole number of 64 bits."""
    if _INTEGER.fullmatch(text) is None or text == b"-0" or not _LEAST <= (number := int(text)) <= _MOST:
        raise Error(otherwise)
    return number


def in_range(number: int, otherwise: str) -> int:
    """A result that must fit 64 bits."""
    if not _LEAST <= number <= _MOST:
        raise Error(otherwise)
    return number


def real(text: bytes, otherwise: str = NOT_FLOAT) -> float:
    """A double; `inf` is one, `nan` is none."""
    try:
        number = float(text)
    except ValueError:
        raise Error(otherwise) from None
    if number != number or b"_" in text or text != text.strip():
        raise Error(otherwise)
    return number


def span(start: bytes, stop: bytes, length: int) -> tuple[int, int]:
    """The first index of a range and the one after its last; negative ones count from the end."""
    first, last = integer(start), integer(stop)
    first = max(first + length, 0) if first < 0 else first
    last = last + length if last < 0 else min(last, length - 1)
    return first, max(last + 1, first)


def word(text: bytes) -> bytes:
    """An option, whose case does not matter."""
    return text.upper()


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Two by two."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def pattern(glob: bytes) -> re.Pattern[bytes]:
    """A pattern as KEYS and PSUBSCRIBE have it: `*`, `?`, `[ab]`, `[^a]`."""
    return re.compile(translate(glob.decode("latin-1").replace("[^", "[!")).encode("latin-1"), re.DOTALL)
