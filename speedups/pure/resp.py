"""Commands to Redis (RESP: an array of bulk strings), and the publications that it announces.

What Redis answers is read by hiredis, which is C as it is.
"""

import hiredis

Announced = tuple[str, bytes, str, int, int, int]
"""Channel, body, epoch, offset, Redis's time in µs, and the count of the partition."""


def pack(command: tuple[bytes | str | int | float, ...]) -> bytes:
    """A command as Redis reads it. Raises UnicodeEncodeError for text that has no bytes, TypeError for what is no
    argument."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # any length, whatever its stub says
    return packed


def read_publication(message: bytes) -> Announced | None:
    """A message of the channel layer, if it is a publication as `publish.lua` announces it: a msgpack map of the keys
    type, c, d, e, o, t, n in this order. None for all others, which `flotilla.realtime.engine.envelope` reads; here,
    for all: msgpack is as fast."""
    return None
