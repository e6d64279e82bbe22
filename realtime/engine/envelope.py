"""Messages on the channel layer: a msgpack map each, the last values of which a script may add in Redis.

`pub`: c channel, d body, e epoch, o offset, t Redis's time in µs, n the partition's count; where it is traced, and only
there, w its span as the W3C's headers. `join`, `leave`: c channel, d ClientInfo. `live`: c channel, n nonce, e epoch,
o top. `beat`: n shard, o number. `control`: d the command as JSON. Who does not know a key leaves it.
Payloads are msgpack *bin*, so that they arrive byte for byte; `cmsgpack` in Redis can only make strings, hence the
heads made here.
"""

from collections.abc import Mapping

import msgpack

PUBLICATION = "pub"
JOIN = "join"
LEAVE = "leave"
LIVE = "live"
BEAT = "beat"
CONTROL = "control"

decode = msgpack.unpackb

_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def _map(size: int, *parts: str | bytes | int | Mapping[str, str]) -> bytes:
    return bytes((0x80 | size,)) + b"".join(_pack(part) for part in parts)


TRACE = "w"


def publication_head(channel: str, trace: Mapping[str, str] | None = None) -> bytes:
    """A publication up to its body, which `bin_head` announces; what follows the body is added by `publish.lua`."""
    if trace:
        return _map(8, "type", PUBLICATION, TRACE, trace, "c", channel, "d")
    return _map(7, "type", PUBLICATION, "c", channel, "d")


def bin_head(size: int) -> bytes:
    """What stands before so many bytes of msgpack *bin*."""
    if size < 256:
        return bytes((0xC4, size))
    return b"\xc5" + size.to_bytes(2, "big") if size < 65536 else b"\xc6" + size.to_bytes(4, "big")


def live_head(channel: str, nonce: str) -> bytes:
    """A confirmation up to the value of its epoch."""
    return _map(5, "type", LIVE, "c", channel, "n", nonce, "e")


def presence_head(kind: str, channel: str) -> bytes:
    """A join or leave up to its ClientInfo."""
    return _map(3, "type", kind, "c", channel, "d")


def beat(shard: int, number: int) -> bytes:
    """A whole heartbeat."""
    return _map(3, "type", BEAT, "n", shard, "o", number)


def control(command: bytes) -> bytes:
    """A whole control message."""
    return _map(2, "type", CONTROL, "d", command)
