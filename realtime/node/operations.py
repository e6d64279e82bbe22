"""What this instance does about a command of the cluster (`engine.control`): what happens to those it is about.

Each order answers how many connections or subscriptions it hit. A subscription whose reply is not out yet is waited
for, so that no order slips past one that is just being made.
Whom it is about is told in `matching`, what is only looked at in `lookups`.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.identity import Overrides
from flotilla.realtime.blocks.blocklist import ADDRESS, USER, who_of
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.states import State
from flotilla.realtime.client.subscriptions import add_server_side
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.control import Command, parse
from flotilla.realtime.node.inspection import lookups
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.reauthorization import Reauthorization
from flotilla.realtime.node.selection import is_at, matching
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, UnsubscribeCode
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.orders")

WAVE = 100  # connections worked on before others get their turn
REFUSED = (CommandError, DisconnectError, StoreUnavailable, TimeoutError)
ANSWER_FIRST = 0.15  # seconds an instance that was told to end has for its answer
GIVE_WITHIN = 4.0  # seconds until a subscription must be in place

Order = Callable[[Command], Awaitable[Any]]


class Orders:
    """Carries out the commands that reach a node."""

    def __init__(self, node: NodeParts, reauthorization: Reauthorization) -> None:
        self._node = node
        self._reauthorization = reauthorization
        self._known: dict[str, Order] = {
            "disconnect": self._disconnect,
            "unsubscribe": self._unsubscribe,
            "subscribe": self._subscribe,
            "refresh": self._refresh,
            "reauthorize": self._reauthorize,
            "message": self._message,
            "block": self._block,
            "unblock": self._unblock,
            "drain": self._drain,
            **lookups(node),
        }

    def receive(self, payload: bytes) -> None:
        """A control message has come."""
        try:
            command = parse(payload)
        except msgspec.DecodeError as error:
            logger.warning("a control message could not be read: %s", error)
            return
        if command.instance and command.instance != self._node.presence.incarnation:
            return
        order = self._known.get(command.op)
        if order is None:
            logger.warning("unknown control command %r", command.op)
            return
        self._node.background(self._carry_out(order, command), name=command.op)

    async def _carry_out(self, order: Order, command: Command) -> None:
        answer = await order(command)
        if command.answer_to:
            await self._node.control.answer(command, self._node.presence.incarnation, answer)

    # What happens to them

    async def _disconnect(self, command: Command) -> int:
        self._reauthorization.revision += 1
        clients = matching(self._node, command)
        for start in range(0, len(clients), WAVE):
            for client in clients[start : start + WAVE]:
                client.disconnect(command.code or DisconnectCode.FORCE_DISCONNECT, command.reason or None)
            await asyncio.sleep(0)
        return len(clients)

    async def _unsubscribe(self, command: Command) -> int:
        code = command.code or UnsubscribeCode.SERVER
        reason = command.reason or UnsubscribeCode.SERVER.reason
        ended = await asyncio.gather(
            *(client.end_channel(command.channel, code, reason) for client in matching(self._node, command))
        )
        return sum(ended)

    async def _subscribe(self, command: Command) -> int:
        try:
            options = Overrides(**command.overrides).apply(options_for(command.channel, self._node.config))
        except (CommandError, TypeError) as error:  # another configuration than the sender's
            logger.warning("cannot subscribe anybody to %r: %s", command.channel, error)
            return 0

        async def one(client: Client) -> bool:
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

        given = 0
        for wave in _waves(matching(self._node, command, inside=False)):
            given += sum(await asyncio.gather(*(one(client) for client in wave)))
        return given

    async def _refresh(self, command: Command) -> int:
        clients = matching(self._node, command)
        now = self._node.wall()
        for client in clients:
            if command.expired or (command.expire_at is not None and command.expire_at <= now):
                client.disconnect(DisconnectCode.EXPIRED)
                continue
            if command.info is not None:
                client.identity = replace(client.identity, info=command.info)
            client.expire_at = command.expire_at
            client.schedule()
        return len(clients)

    async def _reauthorize(self, command: Command) -> int:
        self._reauthorization.revision += 1
        for client in matching(self._node, command, inside=False):
            if client.busy:
                client.renew_hook_cache()  # it may be on its way into the channel
        return await self._reauthorization.reauthorize(matching(self._node, command), command.channel)

    async def _message(self, command: Command) -> int:
        payload = replies.message_push(command.data or b"null")
        clients = matching(self._node, command)
        for wave in _waves(clients):
            for client in wave:
                client.send(payload)
            await asyncio.sleep(0)
        return len(clients)

    # Blocks and the instance itself

    async def _block(self, command: Command) -> int:
        who = who_of(command.user, command.address)
        self._node.blocks.note(who, command.seconds, command.version)
        return await self.end_blocked([who])

    async def _unblock(self, command: Command) -> int:
        return int(self._node.blocks.lift(who_of(command.user, command.address), command.version))

    async def end_blocked(self, names: Collection[str]) -> int:
        """End the connections of those who are blocked from now on; who is just coming in finds the table."""
        node, ended = self._node, 0
        users = [name.removeprefix(USER) for name in names if name.startswith(USER)]
        addresses = {name.removeprefix(ADDRESS) for name in names if name.startswith(ADDRESS)}
        found = [client for user in users for client in node.users.get(user, ())]
        if addresses:
            found += [client for client in node.clients.values() if is_at(client, addresses)]
        for wave in _waves(found):
            for client in wave:
                reason = node.blocks.against(client.identity.user, client.address)
                if reason and client.state is not State.CLOSED:
                    client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
                    ended += 1
            await asyncio.sleep(0)
        return ended

    async def _drain(self, command: Command) -> int:
        """End as after SIGTERM, which the server knows how to do; the answer leaves first."""
        if not command.instance or self._node.draining:
            return 0
        logger.info("told by the cluster to drain")
        asyncio.get_running_loop().call_later(ANSWER_FIRST, os.kill, os.getpid(), signal.SIGTERM)
        return 1


def _waves(clients: list[Client]) -> Iterator[list[Client]]:
    for start in range(0, len(clients), WAVE):
        yield clients[start : start + WAVE]
