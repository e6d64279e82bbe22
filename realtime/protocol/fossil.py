"""Deltas between a channel's publications, for the subscriptions that asked for them (`delta: "fossil"`).

`flotilla.speedups` makes them; here is when one is worth it, and how a client applies one. A delta costs about as much
as the two payloads are long, is made once for all subscribers of a process, and of payloads within a bound only.
"""

from flotilla.speedups import fossil_delta
from flotilla.speedups.pure.fossil import DIGITS, fossil_checksum

FOSSIL = "fossil"
MAX_PAYLOAD = 64 * 1024  # bytes; larger ones are always sent whole: in Python, a byte may take 0.5 µs
MIN_PAYLOAD = 32  # bytes; a delta has 10 at least, and is one more thing to do for the client

_VALUES = {digit: value for value, digit in enumerate(DIGITS)}
_COPY, _COMMA, _INSERT, _CHECKSUM, _NEWLINE = b"@,:;\n"


class BadDelta(ValueError):
    """What is no delta, or none against this source."""


def worthwhile_delta(source: bytes, target: bytes) -> bytes | None:
    """The delta between two payloads; None where the target itself is not longer, or either is beyond the bound."""
    if len(target) < MIN_PAYLOAD or len(target) > MAX_PAYLOAD or len(source) > MAX_PAYLOAD:
        return None
    delta = fossil_delta(source, target)
    return delta if len(delta) < len(target) else None


def apply_delta(source: bytes, delta: bytes, most: int = MAX_PAYLOAD) -> bytes:
    """The target, of `most` bytes at most, that a delta makes of the source. Raises BadDelta."""
    size, place = _read_number(delta, 0)
    if size > most:
        raise BadDelta("the target is too long")
    place = _expect(delta, place, _NEWLINE)
    target = bytearray()
    while True:
        number, place = _read_number(delta, place)
        what = delta[place] if place < len(delta) else -1
        place += 1
        if what == _CHECKSUM:
            if len(target) != size or number != fossil_checksum(bytes(target)) or place != len(delta):
                raise BadDelta("the target is not what it was")
            return bytes(target)
        if what == _COPY:
            begin, place = _read_number(delta, place)
            place = _expect(delta, place, _COMMA)
            part = source[begin : begin + number]
        elif what == _INSERT:
            part = delta[place : place + number]
            place += number
        else:
            raise BadDelta("an unknown instruction")
        if len(part) != number or len(target) + number > size:
            raise BadDelta("a part is too long")
        target += part


def _read_number(delta: bytes, place: int) -> tuple[int, int]:
    value, start = 0, place
    while place < len(delta) and (digit := _VALUES.get(delta[place])) is not None:
        value = value << 6 | digit
        place += 1
        if place - start > 11:
            raise BadDelta("a number is too long")
    if place == start:
        raise BadDelta("a number is missing")
    return value, place


def _expect(delta: bytes, place: int, wanted: int) -> int:
    if place >= len(delta) or delta[place] != wanted:
        raise BadDelta("something is missing behind a number")
    return place + 1
