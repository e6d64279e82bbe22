"""Put clients into a channel. The channel's rules are not asked: who sent the command has decided."""

import asyncio
import logging

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.identity import Overrides
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.subscriptions import add_server_side
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected, waves
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.operations")

REFUSED = (CommandError, DisconnectError, StoreUnavailable, TimeoutError)
GIVE_WITHIN = 4.0  # seconds until a subscription must be in place


class Subscribe(Selection, tag="subscribe", kw_only=True):
    """Whom to put into `channel`. `info` (what others see) and `data` (what the client gets along) are JSON;
    `expire_at` is the subscription's end (Unix seconds), None for never; `since` is (offset, epoch), from where on what
    was missed is sent; `overrides` are options of the channel for this subscription."""

    channel: str
    info: bytes | None = None
    data: bytes | None = None
    expire_at: float | None = None
    since: tuple[int, str] | None = None
    overrides: dict[str, bool] = {}


async def carry_out(node: NodeParts, command: Subscribe) -> int:
    """How many clients are in the channel that were not."""
    try:
        options = Overrides(**command.overrides).apply(options_for(command.channel, node.config))
    except (CommandError, TypeError) as error:  # another configuration than the sender's
        logger.warning("cannot subscribe anybody to %r: %s", command.channel, error)
        return 0
    given = 0
    for wave in waves(selected(node, command, inside=False)):
        given += sum(await asyncio.gather(*(_give(client, command, options) for client in wave)))
    return given


async def _give(client: Client, command: Subscribe, options: ChannelOptions) -> bool:
    try:
        async with asyncio.timeout(GIVE_WITHIN):
            return await add_server_side(
                client,
                command.channel,
                options,
                position=StreamPosition(command.since[1], command.since[0]) if command.since else None,
                expire_at=command.expire_at,
                info=command.info,
                data=command.data,
            )
    except REFUSED as error:
        logger.info("could not be subscribed: %s", error, extra=client.log_context())
        return False
