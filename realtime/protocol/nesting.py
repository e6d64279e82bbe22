"""How deep a payload is nested.

Payloads are passed on unparsed, and some clients' parsers recurse: Python's gives up at its recursion limit, and its
SDK with it. What one client sends must not end another, so depth is bounded here.
"""

import re

MOST = 256  # levels of lists and objects

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')


def too_deep(data: bytes) -> bool:
    """Whether a valid JSON text is nested deeper than MOST; nearly always two searches tell that it cannot be."""
    if data.count(b"[") + data.count(b"{") <= MOST:
        return False
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", data):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest > MOST
