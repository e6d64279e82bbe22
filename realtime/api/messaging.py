"""Messages to connections, past all channels, and ending an instance; commands like those of `control`.

`send_message` is re-exported by `realtime`. A message is the protocol's push of that name: the JavaScript SDK hands it
to the client's `message` event; nothing is kept of it.
"""

from typing import Any

from flotilla.realtime.access.tokens import user_id
from flotilla.realtime.api.publishing import encode_data, options_of
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged, Command, Control
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.nesting import unreadable
from flotilla.store import get_store


def send_message(
    user: Any, data: Any, *, client: str = "", channel: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """Send `data` (anything JSON can hold) to a user's connections, to one, or to all in a channel (`user` None).

    `hit` counts connections it was written to. Raises ValueError when nobody is named, CommandError 107 for data that
    some clients' parsers cannot follow.
    """
    return Control(get_store()).order_sync(_to_message(user, data, client, channel), within)


async def asend_message(
    user: Any, data: Any, *, client: str = "", channel: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """`send_message` for coroutines."""
    return await Control(get_store()).order(_to_message(user, data, client, channel), within)


def _to_message(user: Any, data: Any, client: str, channel: str) -> Command:
    if user is None and not (client or channel):
        raise ValueError("say whom: a user, a client, or a channel")
    if channel:
        options_of(channel)
    encoded = encode_data(data)
    if unreadable(encoded):
        raise CommandError(ErrorCode.BAD_REQUEST)
    whom = None if user is None else user_id(user)
    return Command("message", user=whom, client=client, channel=channel, data=encoded)


def drain(incarnation: str, within: float = ASK_WITHIN) -> Acknowledged:
    """Have one instance end as after SIGTERM: `hit` is 1 when it begins to, 0 when it is at it, or gone."""
    return Control(get_store()).order_sync(Command("drain", instance=incarnation), within)
