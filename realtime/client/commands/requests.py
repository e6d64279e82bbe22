"""What several handlers do with a request: find its channel and the channel's options, and read its data."""

from typing import Any

import msgspec

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.client.client import Client
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.protocol import commands
from flotilla.realtime.protocol.codes import DisconnectCode, DisconnectError


def options_of(client: Client, channel: str) -> ChannelOptions:
    """The options of the channel a request names. Raises DisconnectError 3501 when it names none, CommandError for a
    name that cannot be."""
    require_channel(channel)
    return options_for(channel, client.node.config)


def require_channel(channel: str) -> None:
    """Raise DisconnectError 3501 for a command that names no channel."""
    if not channel:
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail="a command without a channel")


def data_of(data: msgspec.Raw) -> Any:
    """What the client sent along, for the project's own code; None when it sent nothing."""
    return commands.decoded(data) if data else None
