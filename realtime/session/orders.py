"""What this instance does about a command of the cluster (`engine.control`): whom it is about, what happens to them.

Each order answers how many connections or subscriptions it hit. A subscription whose reply is not out yet is waited
for, so that no order slips past one that is just being made.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from realtime.access.channels import options_for
from realtime.access.identity import Overrides
from realtime.engine.control import Command, parse
from realtime.engine.publication import StreamPosition
from realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, UnsubscribeCode
from realtime.session.listing import page
from realtime.session.rechecking import Rechecker
from realtime.session.session import Session
from realtime.session.states import State
from realtime.session.subscribing import give
from store import StoreUnavailable

if TYPE_CHECKING:
    from realtime.engine.node import Node

logger = logging.getLogger("realtime.orders")

WAVE = 100  # connections worked on before others get their turn
REFUSED = (CommandError, DisconnectError, StoreUnavailable, TimeoutError)
GIVE_WITHIN = 4.0  # seconds until a subscription must be in place

Order = Callable[[Command], Awaitable[Any]]


def login_of(session_key: str) -> str:
    """A Django session's name in commands: its key is a secret."""
    return sha256(session_key.encode()).hexdigest()


class Orders:
    """Carries out the commands that reach a node."""

    def __init__(self, node: "Node", rechecker: Rechecker) -> None:
        self._node = node
        self._rechecker = rechecker
        self._known: dict[str, Order] = {
            "disconnect": self._disconnect,
            "unsubscribe": self._unsubscribe,
            "subscribe": self._subscribe,
            "refresh": self._refresh,
            "reauthorize": self._reauthorize,
            "channels": self._channels,
            "count": self._count,
            "connections": self._connections,
        }

    def receive(self, payload: bytes) -> None:
        """A control message has come."""
        try:
            command = parse(payload)
        except msgspec.DecodeError as error:
            logger.warning("a control message could not be read: %s", error)
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

    # Whom it is about

    def _matching(self, command: Command, *, inside: bool = True) -> list[Session]:
        """The connections a command is about; with `inside` those in its channel, where it names one."""
        found = self._named(command, inside)
        return [session for session in found if _fits(session, command, inside)]

    def _named(self, command: Command, inside: bool) -> list[Session]:
        """Few that surely hold all: what is looked up costs nothing to those it is not about."""
        node = self._node
        if command.client:
            session = node.sessions.get(command.client)
            return [session] if session is not None else []
        users = [command.user] if command.user is not None else command.users
        if users is not None:
            return [session for user in dict.fromkeys(users) for session in node.users.get(user, ())]
        if inside and command.channel:
            channel = node.hub.channels.get(command.channel)
            subscribers = [s.subscriber for s in channel.subscriptions] if channel is not None else []
            return [subscriber for subscriber in subscribers if isinstance(subscriber, Session)]
        return list(node.sessions.values())

    # What happens to them

    async def _disconnect(self, command: Command) -> int:
        self._rechecker.revision += 1
        sessions = self._matching(command)
        for start in range(0, len(sessions), WAVE):
            for session in sessions[start : start + WAVE]:
                session.disconnect(command.code or DisconnectCode.FORCE_DISCONNECT, command.reason or None)
            await asyncio.sleep(0)
        return len(sessions)

    async def _unsubscribe(self, command: Command) -> int:
        code = command.code or UnsubscribeCode.SERVER
        reason = command.reason or UnsubscribeCode.SERVER.reason
        ended = await asyncio.gather(
            *(session.end_channel(command.channel, code, reason) for session in self._matching(command))
        )
        return sum(ended)

    async def _subscribe(self, command: Command) -> int:
        try:
            options = Overrides(**command.overrides).apply(options_for(command.channel, self._node.config))
        except (CommandError, TypeError) as error:  # another configuration than the sender's
            logger.warning("cannot subscribe anybody to %r: %s", command.channel, error)
            return 0

        async def one(session: Session) -> bool:
            try:
                async with asyncio.timeout(GIVE_WITHIN):
                    return await give(
                        session,
                        command.channel,
                        options,
                        position=StreamPosition(command.since[1], command.since[0]) if command.since else None,
                        expire_at=command.expire_at,
                        info=command.info,
                        data=command.data,
                    )
            except REFUSED as error:
                logger.info("could not be subscribed: %s", error, extra=session.log_context())
                return False

        given = 0
        for wave in _waves(self._matching(command, inside=False)):
            given += sum(await asyncio.gather(*(one(session) for session in wave)))
        return given

    async def _refresh(self, command: Command) -> int:
        sessions = self._matching(command)
        now = self._node.wall()
        for session in sessions:
            if command.expired or (command.expire_at is not None and command.expire_at <= now):
                session.disconnect(DisconnectCode.EXPIRED)
                continue
            if command.info is not None:
                session.identity = replace(session.identity, info=command.info)
            session.expire_at = command.expire_at
            session.schedule()
        return len(sessions)

    async def _reauthorize(self, command: Command) -> int:
        self._rechecker.revision += 1
        for session in self._matching(command, inside=False):
            if session.busy:
                session.ask_anew()  # it may be on its way into the channel
        return await self._rechecker.recheck(self._matching(command), command.channel)

    async def _count(self, command: Command) -> int:
        return len(self._matching(command))

    async def _connections(self, command: Command) -> dict[str, Any]:
        def fits(session: Session) -> bool:
            return _fits(session, command, inside=True)

        named = self._named(command, inside=True)
        return await page(named, fits, self._node.instance, command.text, command.after, command.limit)

    async def _channels(self, command: Command) -> dict[str, int]:
        channels = self._node.hub.channels
        return {name: len(channel.subscriptions) for name, channel in channels.items() if channel.subscriptions}


def _fits(session: Session, command: Command, inside: bool) -> bool:
    return (
        session.state is State.CONNECTED
        and command.user in (None, session.identity.user)
        and session.client not in command.keep
        and (not inside or not command.channel or command.channel in session.subscriptions)
        and (not command.login or login_of(session.identity.session_key or "") == command.login)
    )


def _waves(sessions: list[Session]) -> Iterator[list[Session]]:
    for start in range(0, len(sessions), WAVE):
        yield sessions[start : start + WAVE]
