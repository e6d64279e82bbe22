"""The commands of a message, as far as they can be told at a glance."""

Glance = tuple[()] | tuple[int, str, bytes] | bytes
"""A line of a message: `()` for a pong, (id, channel, data) for a publication, and the line itself for what has to be
read by `flotilla.realtime.protocol.commands`."""


def scan(message: bytes, most: int) -> list[Glance]:
    """The lines of a message, in order. Those after the first `most` (1 at least) are one item: it is too long then.

    What was told at a glance is just what the general parser would find: id and channel are there and proper, the data
    is JSON, not null, and such as every client's parser can read. Which lines are told is no promise: here, none is,
    for msgspec is as fast. Raises UnicodeDecodeError for what is not UTF-8.
    """
    message.decode()
    lines: list[Glance] = [*message.split(b"\n", most)]
    if not lines[-1] and len(lines) > 1:
        lines.pop()
    return lines
