"""Messages to clients, of no channel, and ending an instance; commands like those of `control`.

`send_message` is re-exported by `flotilla`. A message is the protocol's push of that name: the JavaScript SDK hands it
to the client's `message` event; nothing is kept of it.
"""

from typing import Any

from flotilla.realtime.api.prepared import order
from flotilla.realtime.api.publishing import encode_data, options_of
from flotilla.realtime.api.targets import require_target, user_or_all
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged
from flotilla.realtime.node.operations.drain import Drain
from flotilla.realtime.node.operations.message import Message
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.nesting import unreadable


def send_message(
    user: Any, data: Any, *, client: str = "", channel: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """Send `data` (anything JSON can hold) to a user's connections, to one, or to all in a channel (`user` None).

    `hit` counts connections it was written to. Raises ValueError when nobody is named, CommandError 107 for data that
    some clients' parsers cannot follow.
    """
    return order(message_command(user, data, client, channel), within).run()


async def asend_message(
    user: Any, data: Any, *, client: str = "", channel: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """`send_message` for coroutines."""
    return await order(message_command(user, data, client, channel), within).arun()


def message_command(user: Any, data: Any, client: str, channel: str) -> Message:
    """The command of `send_message`."""
    require_target(user, client, channel)
    if channel:
        options_of(channel)
    encoded = encode_data(data)
    if unreadable(encoded):
        raise CommandError(ErrorCode.BAD_REQUEST)
    return Message(user=user_or_all(user), client=client, channel=channel, data=encoded)


def drain(incarnation: str, within: float = ASK_WITHIN) -> Acknowledged:
    """Have one instance end as after SIGTERM: `hit` is 1 when it begins to, 0 when it has begun before, or is gone."""
    return order(Drain(instance=incarnation), within).run()
