"""What a command answers, and how that is written on the wire (RESP2, and RESP3 for clients that ask for it).

A reply is an int, bytes, None, a `Status`, an `Error`, a float (a double of RESP3), or a list, dict or frozenset of
replies. RESP2 has no doubles, maps and sets: they are written as strings and flat lists there.
"""

from typing import Any

Reply = Any
RESP2, RESP3 = 2, 3


class Status(bytes):
    """A simple string: OK, PONG, QUEUED, …"""


class Error(Exception):
    """An error reply; its text begins with a code: ERR, WRONGTYPE, NOSCRIPT, …"""

    @property
    def text(self) -> str:
        """As it is written."""
        return str(self.args[0])


class Push(list[Reply]):
    """What a client gets without having asked: a message of pub/sub, or the answer to a subscription."""


class Pairs(list[tuple[Reply, Reply]]):
    """Members with their scores, or fields with their values: pairs in RESP3, one list in RESP2."""


class Several(list[Reply]):
    """More than one reply to one command, or none."""


OK = Status(b"OK")
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def double(number: float) -> bytes:
    """A double as text, as Redis writes scores."""
    if number != number:
        return b"nan"
    if number in (float("inf"), float("-inf")):
        return b"inf" if number > 0 else b"-inf"
    if number == int(number) and abs(number) < 1e17:
        return b"%d" % int(number)
    return b"%.17g" % number


def flat(reply: Reply) -> Reply:
    """A reply as RESP2 has it, and as scripts get it: no maps, sets and doubles."""
    if type(reply) is bytes or type(reply) is int:
        return reply
    if isinstance(reply, float):
        return double(reply)
    if isinstance(reply, (dict, Pairs)):
        return [flat(part) for pair in (reply.items() if isinstance(reply, dict) else reply) for part in pair]
    if isinstance(reply, (list, frozenset)) and not isinstance(reply, (Push, Several)):
        return [flat(part) for part in reply]
    return reply


def encode(reply: Reply, protocol: int) -> bytes:
    """A reply as bytes for a client that speaks RESP2 or RESP3."""
    out = bytearray()
    _write(out, reply, protocol)
    return bytes(out)


def _write(out: bytearray, reply: Reply, protocol: int) -> None:
    if isinstance(reply, Status):
        out += b"+%b\r\n" % reply
    elif isinstance(reply, bytes):
        out += b"$%d\r\n%b\r\n" % (len(reply), reply)
    elif isinstance(reply, int):
        out += b":%d\r\n" % reply
    elif reply is None:
        out += b"$-1\r\n" if protocol == RESP2 else b"_\r\n"
    elif isinstance(reply, float):
        text = double(reply)
        out += b",%b\r\n" % text if protocol == RESP3 else b"$%d\r\n%b\r\n" % (len(text), text)
    elif isinstance(reply, Error):
        out += b"-%b\r\n" % reply.text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
    elif isinstance(reply, Several):
        for one in reply:
            _write(out, one, protocol)
    else:
        _write_many(out, reply, protocol)


def _write_many(out: bytearray, reply: Reply, protocol: int) -> None:
    if isinstance(reply, Pairs) and protocol == RESP2:
        reply = flat(reply)
    if isinstance(reply, dict):
        parts = [part for pair in reply.items() for part in pair]
        head = b"%%%d\r\n" % len(reply) if protocol == RESP3 else b"*%d\r\n" % len(parts)
    elif isinstance(reply, frozenset):
        parts, head = list(reply), (b"~%d\r\n" if protocol == RESP3 else b"*%d\r\n") % len(reply)
    else:
        kind = b">%d\r\n" if protocol == RESP3 and isinstance(reply, Push) else b"*%d\r\n"
        parts, head = [list(one) if isinstance(one, tuple) else one for one in reply], kind % len(reply)
    out += head
    for part in parts:
        _write(out, part, protocol)
