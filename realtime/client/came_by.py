"""What a client's handshake said about where it comes from, kept for who looks at its connection.

Clients may send what they like: each text is cut, and equal ones are one object in memory, so that a hundred thousand
connections of one web site keep its origin once.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST = 256  # characters of each


class CameBy(NamedTuple):
    """The page that opened the connection ("" for clients that are no browsers), the program, and the path asked for.
    The query string is left out: it may hold secrets."""

    origin: str = ""
    agent: str = ""
    path: str = ""


NOWHERE = CameBy()


def came_by(scope: Mapping[str, Any]) -> CameBy:
    """What an ASGI scope says."""
    origin = agent = b""
    for name, value in scope.get("headers") or ():
        if name == b"origin":
            origin = value
        elif name == b"user-agent":
            agent = value
    return CameBy(_kept(origin.decode("latin-1")), _kept(agent.decode("latin-1")), _kept(scope.get("path", "")))


def _kept(text: str) -> str:
    return sys.intern(text[:LONGEST])
