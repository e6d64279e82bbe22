"""How deep a payload is nested, and how long its numbers are.

Payloads are passed on unparsed, and some clients' parsers recurse: Python's gives up at its recursion limit, and at
whole numbers of more than 4,300 digits, and its SDK with it. What one client sends must not end another, so both are
bounded here.
"""

import re

MAX = 256  # levels of lists and objects
MAX_DIGITS = 4300  # of a number

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))


def unreadable(data: bytes) -> bool:
    """Whether some client's parser would fail at a valid JSON text."""
    return too_deep(data) or too_long_a_number(data)


def too_long_a_number(data: bytes) -> bool:
    """Whether a number of a valid JSON text has more than MAX_DIGITS digits."""
    if len(data) <= MAX_DIGITS or _LONG_NUMBER.search(data) is None:
        return False
    return _LONG_NUMBER.search(_STRINGS.sub(b"", data)) is not None


def too_deep(data: bytes) -> bool:
    """Whether a valid JSON text is nested deeper than MAX; nearly always two searches tell that it cannot be."""
    return data.count(b"[") + data.count(b"{") > MAX and nested(data) > MAX


def nested(data: bytes) -> int:
    """How many levels of lists and objects a JSON text has."""
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", data):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
