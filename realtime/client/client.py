"""A client: one connection from its handshake to its end, with its state, subscriptions and deadlines.

What it sends is put into the queue of its commands (`command_queue`); what it is sent goes to its socket, which says
when the client leaves too much unread. Whoever ends it, `closed` takes it out of every channel, once.
"""

import asyncio
import contextlib
import logging
from collections.abc import MutableMapping
from os import urandom
from typing import Any

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import options_for, presence_base
from flotilla.realtime.access.identity import ANONYMOUS, Identity
from flotilla.realtime.client import command_time, deadlines
from flotilla.realtime.client.came_by import came_by
from flotilla.realtime.client.command_queue import CommandQueue
from flotilla.realtime.client.node import Node, TooManyWait
from flotilla.realtime.client.states import State, expected_after, follows
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode, UnsubscribeCode
from flotilla.realtime.protocol.commands import Command
from flotilla.realtime.protocol.encodings import Encoding
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, Format
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.maps import CLIENTS, USERS
from flotilla.realtime.protocol.replies import client_info
from flotilla.realtime.server.sockets import Socket

logger = logging.getLogger("flotilla.realtime.client")

LEAVE_AFTER_REFUSAL = 5.0  # seconds a client that was refused has to close the connection
LOOK_EVERY = 0.02  # seconds between looks at a subscription whose reply is on its way
EFFORT_OF_A_FRAME = 100  # bytes that are read with effort (0.3 µs each) and count as one frame

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def new_id() -> str:
    """A random UUID (RFC 9562, version 4) as text."""
    digits = urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def _size(message: str | bytes) -> int:
    return len(message.encode() if isinstance(message, str) else message)


class Client:
    """One client connection. `receive` takes what it sends, `disconnect` ends it, `closed` says that it is gone."""

    __slots__ = (
        "__weakref__",
        "_ticket",
        "address",
        "came_by",
        "code",
        "commands",
        "deadline",
        "errors",
        "expire_at",
        "format",
        "hook_cache",
        "id",
        "identity",
        "name",
        "next_ping",
        "node",
        "pong_by",
        "reason",
        "received",
        "received_bytes",
        "registered",
        "scope",
        "session",
        "since",
        "slot",
        "socket",
        "state",
        "subscriptions",
        "transport",
        "version",
    )

    def __init__(
        self,
        node: "Node[Client]",
        socket: Socket,
        scope: MutableMapping[str, Any],
        ticket: int = 0,
        address: str = "",
        format: Format = WEBSOCKET_JSON,
    ) -> None:
        """`ticket`: what the node's admission gave it; 0 for none. `format`: how it is spoken to."""
        self.node = node
        self.socket = socket
        self.format = format
        self.scope: MutableMapping[str, Any] | None = scope
        self.id = new_id()
        self.transport = "websocket"  # and the secret by which requests find a client whose connection is none
        self.session = ""
        self.identity: Identity = ANONYMOUS
        self.name = ""  # of the client's SDK or program, as it calls itself, and that one's version
        self.version = ""
        self.address = address
        self.came_by = came_by(scope)
        self.state = State.AWAITING_CONNECT
        self.subscriptions: dict[str, Subscription] = {}
        self.expire_at: float | None = None
        self.hook_cache: dict[Any, Any] = {}
        self.code = 0
        self.reason = ""
        self.registered = False  # has an entry among its user's connections
        self.slot = 0  # for the node's timers
        self.since = 0.0  # Unix seconds, from when it was connected
        self.received = 0  # commands, pongs among them
        self.received_bytes = 0
        self.errors = 0  # commands that were answered with an error
        self.commands = CommandQueue()
        self._ticket = ticket
        node.admission.end_by(ticket, self._end_silent)
        self.next_ping = 0.0  # these three are for `deadlines`: loop time, 0.0 for never
        self.pong_by = 0.0
        self.deadline = node.now() + node.config.connect_timeout  # counts until it is connected
        socket.on_slow = self._on_slow
        node.opened(self)
        node.timers.set(self, self.deadline)

    @property
    def encoding(self) -> Encoding:
        """How its messages are written, both ways."""
        return self.format.encoding

    def move(self, state: State) -> None:
        """Enter the next state."""
        if not follows(state, self.state):
            expected = expected_after(self.state)
            raise RuntimeError(f"a connection that is {self.state.name} can become {expected}, not {state.name}")
        self.state = state

    # In

    def receive(self, message: str | bytes) -> int:
        """Take a message of the client. Never raises: what is wrong with it ends the connection.

        Returns how many frames it counts as besides its own: one for each command but the first, and more for what
        takes long to read.
        """
        if self.state is State.REFUSED or self.state is State.CLOSED:
            return 0
        if isinstance(message, bytes) is not self.encoding.binary:
            self.disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL)
            return 0
        self.received_bytes += len(message)
        try:
            max_bytes = self.node.config.max_message_bytes
            if len(message) * 4 > max_bytes and _size(message) > max_bytes:
                raise DisconnectError(DisconnectCode.MESSAGE_TOO_BIG)
            commands, effort = self.encoding.read(message, self.node.config.max_queued_commands)
            self.received += len(commands)
            for command in commands:
                self._accept(command)
            return len(commands) - 1 + effort // EFFORT_OF_A_FRAME
        except DisconnectError as error:
            self.disconnect_for(error)
            return 0

    def overrun(self) -> None:
        """The client has sent more than a connection may: end it."""
        detail = "more frames, commands or bytes than a connection may send"
        self.disconnect_for(DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail=detail))

    def _accept(self, command: Command) -> None:
        if self.state is State.REFUSED or self.state is State.CLOSED:
            return  # by a command before it in the same message
        if command.is_pong and self.state is not State.AWAITING_CONNECT:
            self.pong_by = 0.0
            self.node.stats.pongs += 1
        else:
            self.commands.put(self, command)

    @property
    def busy(self) -> bool:
        """Whether a command is under way that somebody has to wait for."""
        return self.commands.busy

    # Its place among the clients that are on their way in

    async def wait_for_place(self) -> None:
        """It asks to connect: from now on it keeps its place, or waits for one if it has lost it."""
        try:
            await self.node.admission.connects(self._ticket)
        except TooManyWait:
            raise CommandError(ErrorCode.INTERNAL, detail="too many wait to connect") from None

    def free_place(self) -> None:
        """It is in, or will not come in: its place is for another client. Calling it again does nothing."""
        self.node.admission.leave(self._ticket)

    def _end_silent(self) -> None:
        self.disconnect(DisconnectCode.STALE)

    # Out

    def send(self, payload: bytes) -> None:
        """Send one reply or push."""
        if self.state is not State.CLOSED:
            self.node.stats.replies += 1
            self._write(self.format.frame((payload,)))

    def _write(self, frame: Frame) -> None:
        self.node.stats.reply_bytes += len(frame.wire)
        self.socket.send_soon(frame)

    def end_subscription(self, subscription: Subscription, code: int, reason: str) -> None:
        """End a subscription for the server. The client is told; the code says whether it may subscribe again."""
        if self.subscriptions.get(subscription.channel) is subscription:
            self.forget_subscription(subscription)
            self.node.stats.unsubscribes += 1
            told = {"code": int(code), "reason": reason}
            self.send(self.encoding.push(subscription.channel, "unsubscribe", told))

    async def end_channel(self, channel: str, code: int, reason: str) -> bool:
        """`end_subscription` by the channel's name, after the reply if that is not out yet. False if there was none."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or not await self._reply_is_out(subscription):
            return False
        self.end_subscription(subscription, code, reason)
        return True

    async def _reply_is_out(self, subscription: Subscription) -> bool:
        """Wait until a subscription's reply is out, as it mostly is already. False when the subscription is over."""
        give_up = self.node.now() + command_time.COMMAND_WITHIN
        while self.subscriptions.get(subscription.channel) is subscription:
            if subscription.held is None:
                return True
            if self.node.now() > give_up:
                subscription.broken = True  # its reply will be an error
                return False
            await asyncio.sleep(LOOK_EVERY)
        return False

    def forget_subscription(self, subscription: Subscription) -> None:
        """Take a subscription out of the hub and of presence."""
        if self.subscriptions.get(subscription.channel) is subscription:
            del self.subscriptions[subscription.channel]
        self.node.hub.unsubscribe(subscription)
        self.node.leave(subscription, self)
        for prefix in (CLIENTS, USERS):
            watching = self.subscriptions.get(prefix + subscription.channel)
            if watching is not None and presence_base(watching.channel, self.node.config) is not None:
                self._left_watched(watching, subscription.channel)

    def _left_watched(self, watching: Subscription, base: str) -> None:
        """A channel was left: a map of who is present there stays if that is for others to see as well."""
        user, insecure = self.identity.user, self.node.config.insecure
        with contextlib.suppress(CommandError):
            permissions.presence(options_for(base, self.node.config), user=user, insecure=insecure)
            return
        if watching.held is not None:
            watching.broken = True  # its reply is not out yet and will be an error
        else:
            code = UnsubscribeCode.STATE_INVALIDATED
            self.end_subscription(watching, code, code.reason)

    def lose_position(self, subscription: Subscription) -> None:
        """Publications are lost for this subscription: the client has to subscribe or connect again."""
        if subscription.held is not None:
            return  # its reply is not out yet and will be an error
        if subscription.server_side:
            self.disconnect(DisconnectCode.INSUFFICIENT_STATE)
        else:
            code = UnsubscribeCode.INSUFFICIENT_STATE
            self.end_subscription(subscription, code, code.reason)

    def too_slow(self) -> None:
        """The client reads nothing of what it is sent: end the connection."""
        self.disconnect(DisconnectCode.SLOW)

    # Deadlines

    def connected(self) -> None:
        """The connect reply is ready: from now on the client is pinged, and its token or session can expire."""
        self.move(State.CONNECTED)
        self.scope = None
        self.next_ping = deadlines.first_ping(self)
        self.schedule()

    def schedule(self) -> None:
        """Have `on_time` called at the next deadline; call this after an expiry has changed."""
        self.node.timers.set(self, deadlines.next_deadline(self))

    def on_time(self, now: float) -> float | None:
        """A deadline has come (the node's timers call this); gives the next."""
        deadlines.meet(self, now)
        return deadlines.next_deadline(self)

    def ping(self) -> None:
        """Ask the client for a pong."""
        self.socket.send(self.format.ping)
        self.node.stats.pings += 1
        self.node.stats.ping_bytes += len(self.format.ping.wire)

    # The end

    def refuse(self) -> None:
        """Connect was answered with an error: the client closes the connection, else it is closed after a while."""
        self.move(State.REFUSED)
        for subscription in list(self.subscriptions.values()):  # that were begun meanwhile
            self.forget_subscription(subscription)
        self.deadline = self.node.now() + LEAVE_AFTER_REFUSAL
        self.schedule()

    def disconnect_for(self, error: DisconnectError) -> None:
        """End the connection for an error of its client, which the log names."""
        if error.detail:
            logger.info("%s", error.detail, extra=self.log_context() | {"code": error.code})
        self.disconnect(error.code, error.reason)

    def _on_slow(self) -> None:
        # Called in the middle of a fan-out: the hub must not be touched before it is over.
        asyncio.get_running_loop().call_soon(self.disconnect, DisconnectCode.SLOW)

    def disconnect(self, code: int, reason: str | None = None) -> None:
        """End the connection with a close code. The push before it carries the reason where the frame cannot."""
        if self.state is State.CLOSED:
            return
        reason = reason or DisconnectCode(code).reason
        code = int(code)  # Autobahn refuses subclasses of int
        if code != DisconnectCode.SHUTDOWN:
            logger.info("disconnected", extra=self.log_context() | {"code": code, "reason": reason})
        if code >= 3000:
            self._write(self.format.frame((self.encoding.disconnect_push(code, reason),)))
        self.socket.close(code, reason)
        self.closed(code, reason)

    def closed(self, code: int, reason: str = "connection lost") -> None:
        """The connection is over, whoever ended it: it leaves every channel. Calling it again does nothing."""
        if self.state is State.CLOSED:
            return
        announced = self.state is State.CONNECTED
        self.free_place()
        self.move(State.CLOSED)
        self.code, self.reason = code, reason
        self.node.timers.set(self, None)
        for subscription in list(self.subscriptions.values()):
            self.node.hub.unsubscribe(subscription)
        self.commands.cancel()
        self.node.closed(self, announced)
        self.subscriptions.clear()

    def renew_hook_cache(self) -> None:
        """Access may have changed: what hooks answered before does not count any more."""
        self.hook_cache = hooks.renewed(self.hook_cache)

    def client_info(self, chan_info: bytes | None) -> bytes:
        """This connection as a ClientInfo."""
        return client_info(self.identity.user, self.id, self.identity.info, chan_info)

    def log_context(self) -> dict[str, Any]:
        """Who this is, for the log: ids only."""
        return {"client": self.id, "user": self.identity.user, "address": self.address}
