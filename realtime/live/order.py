"""A row's place among those of its channel, as a text: rows are in the order of these texts, in Python and in browsers.

A text is made of the row's values, one after the other, each as hexadecimal digits whose order is that of the values:
nothing before anything, numbers and times as numbers, texts without regard to case and by code point, as no database
would have to agree to. A value that counts downwards has its digits complemented. Pure.
"""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

MAX_TEXT = 64  # characters of a text that count
_NOTHING, _SOMETHING = b"\x00", b"\x01"
_UPWARDS = bytes(range(256))
_DOWNWARDS = bytes(reversed(_UPWARDS))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def place(values: Iterable[Any], *, downwards: Sequence[bool] = ()) -> str:
    """The text of a row with these values; `downwards` says of each whether the greatest is first (default: not)."""
    found = []
    for at, value in enumerate(values):
        digits = _NOTHING if value is None else _SOMETHING + _bytes(value)
        found.append(digits.translate(_DOWNWARDS if at < len(downwards) and downwards[at] else _UPWARDS))
    return b"".join(found).hex()


def _bytes(value: Any) -> bytes:
    """Bytes in whose order the values of a kind are, none of which begins another."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        value = (aware - _EPOCH) // _MICROSECOND
    elif isinstance(value, date):
        value = value.toordinal()
    elif isinstance(value, time):
        value = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    elif isinstance(value, timedelta):
        value //= _MICROSECOND
    if isinstance(value, int | float | Decimal):
        return _of_number(value)
    return str(value).casefold()[:MAX_TEXT].replace("\x00", "").encode(errors="replace") + b"\x00"


def _of_number(value: Any) -> bytes:
    """A float's bits as IEEE 754 has them (of a negative number complemented, of another one the sign alone), then by
    how much a whole number is above what the float says: 7 and 7.0 have one place, 2**60 and 2**60 + 1 two."""
    try:
        number = float(value) + 0.0  # no -0.0
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    bits: int = struct.unpack(">Q", struct.pack(">d", number))[0]
    above = value - int(number) if isinstance(value, int) and abs(number) < 2**64 else 0
    return (bits ^ (2**64 - 1 if bits >> 63 else 2**63)).to_bytes(8, "big") + (above + 2**15).to_bytes(2, "big")
