"""Commands as Redis reads them (RESP: an array of bulk strings). Pure functions of bytes.

`pack` makes a whole command. A script call that repeats most of another is put together of parts that were packed
before (`words`, `array`), and a packed EVALSHA can be made an EVAL of the whole script (`in_full`), so that nobody has
to keep what it was packed from.
"""

from flotilla.speedups import pack as pack

Argument = bytes | str | int | float
Command = tuple[Argument, ...]

_EVALSHA = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n"


def array(size: int) -> bytes:
    """What stands before the words of a command."""
    return b"*%d\r\n" % size


def words(*arguments: Argument) -> bytes:
    """Some words of a command."""
    return pack(arguments).split(b"\r\n", 1)[1]


def in_full(packed: bytes, sha: str, text: bytes) -> bytes:
    """A packed EVALSHA of the script `sha`, for a Redis that does not know it."""
    size, rest = packed.split(b"\r\n", 1)
    return b"%b\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n%b" % (size, len(text), text, rest[len(_EVALSHA) - 2 + len(sha) :])
