"""A connection's life: states, the order of its commands, its deadlines, its end.

Commands are handled one after another in the order they came: at once where nothing needs to be waited for, else by a
task that lives only while there is something to do.
Everything that waits is bounded: commands in the queue, the time a command may take, the bytes a client leaves unread.
What a command means is in the neighbouring modules; this one knows only when it may be asked.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from flotilla.realtime.access import hooks
from flotilla.realtime.access.identity import ANONYMOUS, Identity
from flotilla.realtime.client import command_time, deadlines
from flotilla.realtime.client.node import Node, TooManyWait
from flotilla.realtime.client.states import State, expected_after, follows
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode, UnsubscribeCode
from flotilla.realtime.protocol.commands import Command, parse
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.server.sockets import Socket
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.client")

COMMAND_WITHIN = 4.0  # seconds from a command's arrival to its answer; clients give a reply 5
LEAVE_AFTER_REFUSAL = 5.0  # seconds a client that was refused has to go by itself
SETTLE = 0.02  # seconds between looks at a subscription whose reply is on its way

Continuation = Callable[[], Awaitable[bytes | None]]
"""What is left to do for a command; gives the reply, or None when it has seen to it itself."""

Handler = Callable[["Client", int, Any], Any]
"""Handles one request of a session: a coroutine function that gives the reply or None, as a continuation does.

Those of AT_ONCE are plain functions that mostly need not wait, and return the reply, None, or a continuation.
"""

AT_ONCE = frozenset({"publish", "unsubscribe"})

PING = Frame(replies.PING)


class Client:
    """One client connection. `receive` takes what it sends, `disconnect` ends it, `closed` says that it is gone."""

    __slots__ = (
        "__weakref__",
        "_place",
        "_queue",
        "_worker",
        "address",
        "code",
        "deadline",
        "due",
        "expire_at",
        "hook_cache",
        "id",
        "identity",
        "name",
        "next_ping",
        "node",
        "pong_by",
        "reason",
        "registered",
        "scope",
        "since",
        "slot",
        "socket",
        "state",
        "subscriptions",
        "unanswered",
    )

    def __init__(
        self, node: "Node[Client]", socket: Socket, scope: dict[str, Any], place: int = 0, address: str = ""
    ) -> None:
        self.node = node
        self.socket = socket
        self.scope: dict[str, Any] | None = scope
        self.id = str(uuid.uuid4())
        self.identity: Identity = ANONYMOUS
        self.name = ""
        self.address = address
        self.state = State.AWAITING_CONNECT
        self.subscriptions: dict[str, Subscription] = {}
        self.expire_at: float | None = None
        self.hook_cache: dict[Any, Any] = {}
        self.code = 0
        self.reason = ""
        self.registered = False  # has an entry in the registry of connections
        self.slot = 0
        self.since = 0.0  # Unix seconds, from when it was connected
        self.unanswered = 0  # commands that were sent off to Redis and whose replies will follow
        self._place = place  # its ticket of the node's admission
        node.admission.end_by(place, self._stay_no_longer)
        self.due = 0.0  # loop time at which the worker's command is to be answered; 0.0: nothing waits
        self._queue: deque[tuple[float, Command]] | None = None  # with the time at which each is to be answered
        self._worker: asyncio.Task[None] | None = None
        self.next_ping = 0.0  # these three are `deadlines`': loop time, 0 for never
        self.pong_by = 0.0
        self.deadline = node.now() + node.config.connect_timeout  # counts until it is connected
        socket.on_slow = self._on_slow
        node.opened(self)
        node.wheel.set(self, self.deadline)

    def move(self, state: State) -> None:
        """Enter the next state."""
        if not follows(state, self.state):
            expected = expected_after(self.state)
            raise RuntimeError(f"a connection that is {self.state.name} can become {expected}, not {state.name}")
        self.state = state

    # In

    def receive(self, message: str | bytes) -> int:
        """A message of the client. Never raises: what is wrong with it ends the connection.

        Returns how many commands it held besides the first: each counts as a frame of its own.
        """
        if self.state is State.REFUSED or self.state is State.CLOSED:
            return 0
        if isinstance(message, bytes):  # binary frames are another protocol's
            self.disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL)
            return 0
        try:
            most = self.node.config.max_message_bytes
            if len(message) * 4 > most and len(message.encode()) > most:
                raise DisconnectError(DisconnectCode.MESSAGE_TOO_BIG)
            commands = parse(message, self.node.config.max_queued_commands)
            for command in commands:
                self._accept(command)
            return len(commands) - 1
        except DisconnectError as error:
            self._disconnect_for(error)
            return 0

    def overrun(self) -> None:
        """The client sends more than a connection may."""
        detail = "more frames, commands or bytes than a connection may send"
        self._disconnect_for(DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail=detail))

    def _accept(self, command: Command) -> None:
        if command.is_pong and self.state is not State.AWAITING_CONNECT:
            self.pong_by = 0.0
            self.node.stats.pongs += 1
            return
        waiting = self.unanswered + (len(self._queue) if self._queue is not None else 0)
        if waiting >= self.node.config.max_queued_commands:
            raise DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail="too many commands are waiting")
        if self._queue is not None:
            self._queue.append((self.node.now() + COMMAND_WITHIN, command))
            return
        rest = self._begin(command)
        if rest is not None:
            self.due = self.node.now() + COMMAND_WITHIN
            self._queue = deque()
            self._worker = asyncio.ensure_future(self._work(command, rest))

    def _begin(self, command: Command) -> Continuation | None:
        """Do what can be done of a command at once; what cannot is returned. Raises DisconnectError."""
        method = command.method
        handler = self.node.handlers.get(method)
        if handler is None:
            raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"no such request: {method or 'empty command'}")
        if (method == "connect") is not (self.state is State.AWAITING_CONNECT):
            raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"{method} while {self.state.name}")
        if not command.id and method != "send":
            raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"{method} without an id")
        self.node.stats.commands[method] += 1
        if not command.fits:
            return partial(_refuse_unfit, self, method)
        if method not in AT_ONCE:
            return partial(handler, self, command.id, getattr(command, method))
        try:
            answer = handler(self, command.id, getattr(command, method))
        except CommandError as error:
            self.node.stats.errors[error.code] += 1
            answer = replies.error(command.id, error)
        if answer is None or isinstance(answer, bytes):
            self._answer(answer)
            return None
        rest: Continuation = answer
        return rest

    def _answer(self, answer: bytes | None) -> None:
        if answer is not None:
            self.send(answer)

    async def _work(self, command: Command, rest: Continuation) -> None:
        """Finish a command, then all that have queued behind it."""
        try:
            while True:
                await self._finish(command, rest)
                following = self._next_begun()
                if following is None:
                    return
                command, rest = following
        except DisconnectError as error:
            self._disconnect_for(error)
        except Exception:
            logger.exception("a command failed", extra=self.log_context())
            self.disconnect(DisconnectCode.INTERNAL)
        finally:
            self._worker = None
            self._queue = None
            self.due = 0.0

    def _next_begun(self) -> tuple[Command, Continuation] | None:
        while self._queue and self.state not in (State.REFUSED, State.CLOSED):
            self.due, command = self._queue.popleft()
            if not command_time.begins(command.method, self.due, self.node.now()):
                self._answer(self._failed(command, "its time was over before its turn came"))
                continue
            rest = self._begin(command)
            if rest is not None:
                return command, rest
        return None

    async def _finish(self, command: Command, rest: Continuation) -> None:
        try:
            async with asyncio.timeout_at(self.due):
                answer = await rest()
        except CommandError as error:
            if error.detail:
                logger.info("%s", error.detail, extra=self.log_context() | {"code": error.code})
            self.node.stats.errors[error.code] += 1
            answer = replies.error(command.id, error)
        except (StoreUnavailable, TimeoutError) as error:
            answer = self._failed(command, str(error) or "too slow")
        self._answer(answer)
        if self.state is State.CONNECTING:
            self._refuse()

    def _failed(self, command: Command, why: str) -> bytes | None:
        """The answer to a command that could not be done for now: try again. `send` has none."""
        logger.warning("%s could not be done: %s", command.method, why, extra=self.log_context())
        self.node.stats.errors[ErrorCode.INTERNAL] += 1
        return replies.error(command.id, CommandError(ErrorCode.INTERNAL)) if command.id else None

    async def take_place(self) -> None:
        """It asks to connect: from now on its place is kept, or waited for if it is another's by now."""
        try:
            await self.node.admission.connects(self._place)
        except TooManyWait:
            raise CommandError(ErrorCode.INTERNAL, detail="too many wait to connect") from None

    def _stay_no_longer(self) -> None:
        self.disconnect(DisconnectCode.STALE)

    def give_place_back(self) -> None:
        """Whether it came in or not: another client may."""
        self.node.admission.leave(self._place)

    # Out

    def send(self, payload: bytes) -> None:
        """Send one reply or push."""
        if self.state is not State.CLOSED:
            self.node.stats.replies += 1
            self.socket.send(Frame(payload))

    def end_subscription(self, subscription: Subscription, code: int, reason: str) -> None:
        """The server ends a subscription; the client is told and may come back or not, as the code says."""
        if self.subscriptions.get(subscription.channel) is subscription:
            self.forget_subscription(subscription)
            self.node.stats.unsubscribes += 1
            self.send(replies.unsubscribe_push(subscription.channel, code, reason))

    async def end_channel(self, channel: str, code: int, reason: str) -> bool:
        """`end_subscription` by name; one whose reply is not out yet is ended after it. False when there was none."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or not await self.settled(subscription):
            return False
        self.end_subscription(subscription, code, reason)
        return True

    async def settled(self, subscription: Subscription) -> bool:
        """Wait until a subscription's reply is out, as it is but for a moment; False when the subscription is over."""
        give_up = self.node.now() + COMMAND_WITHIN
        while self.subscriptions.get(subscription.channel) is subscription:
            if subscription.held is None:
                return True
            if self.node.now() > give_up:
                subscription.broken = True  # its reply will be an error
                return False
            await asyncio.sleep(SETTLE)
        return False

    def forget_subscription(self, subscription: Subscription) -> None:
        """Take a subscription out of the hub and of presence."""
        if self.subscriptions.get(subscription.channel) is subscription:
            del self.subscriptions[subscription.channel]
        self.node.hub.unsubscribe(subscription)
        self.node.leave(subscription, self)

    def lose_position(self, subscription: Subscription) -> None:
        """Publications are lost for this subscription: the client must begin anew."""
        if subscription.held is not None:
            return  # its reply is not out yet and will be an error
        if subscription.server_side:
            self.disconnect(DisconnectCode.INSUFFICIENT_STATE)
        else:
            code = UnsubscribeCode.INSUFFICIENT_STATE
            self.end_subscription(subscription, code, code.reason)

    def too_slow(self) -> None:
        """The client reads nothing of what it is sent."""
        self.disconnect(DisconnectCode.SLOW)

    # Deadlines

    def connected(self) -> None:
        """The connect reply is ready: from now on pings and expiry count."""
        self.move(State.CONNECTED)
        self.scope = None
        self.next_ping = deadlines.first_ping(self)
        self.schedule()

    def schedule(self) -> None:
        """Set the wheel to the next deadline; call after an expiry changed."""
        self.node.wheel.set(self, deadlines.following(self))

    def on_time(self, now: float) -> float | None:
        """A deadline has come (called by the wheel); gives the next."""
        deadlines.meet(self, now)
        return deadlines.following(self)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.socket.send(PING)
        self.node.stats.pings += 1

    # The end

    def _refuse(self) -> None:
        """Connect was answered with an error: the client goes by itself, or is closed after a while."""
        self.move(State.REFUSED)
        self.deadline = self.node.now() + LEAVE_AFTER_REFUSAL
        self.schedule()

    def _disconnect_for(self, error: DisconnectError) -> None:
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
            self.socket.send(Frame(replies.disconnect_push(code, reason)))
        self.socket.close(code, reason)
        self.closed(code, reason)

    def closed(self, code: int, reason: str = "connection lost") -> None:
        """The connection is over, whoever ended it: leave every channel. Calling it again does nothing."""
        if self.state is State.CLOSED:
            return
        announced = self.state is State.CONNECTED
        self.give_place_back()
        self.move(State.CLOSED)
        self.code, self.reason = code, reason
        self.node.wheel.set(self, None)
        for subscription in list(self.subscriptions.values()):
            self.node.hub.unsubscribe(subscription)
        if self._worker is not None and self._worker is not asyncio.current_task():
            self._worker.cancel()
        self.node.closed(self, announced)
        self.subscriptions.clear()

    def ask_anew(self) -> None:
        """Access may have changed: nothing that was answered before counts any more."""
        self.hook_cache = hooks.renewed(self.hook_cache)

    @property
    def busy(self) -> bool:
        """Whether a command is under way."""
        return self._worker is not None

    def client_info(self, chan_info: bytes | None) -> bytes:
        """This connection as a ClientInfo."""
        return replies.client_info(self.identity.user, self.id, self.identity.info, chan_info)

    def log_context(self) -> dict[str, Any]:
        """Who this is, for the log: ids only."""
        return {"client": self.id, "user": self.identity.user, "address": self.address}


async def _refuse_unfit(client: Client, method: str) -> bytes | None:
    """Answer a command that cannot be used: 107, as whoever handles it would if it could be read."""
    if method == "send":
        return None  # it has no answer
    if method == "connect":
        client.move(State.CONNECTING)
        client.give_place_back()
    raise CommandError(ErrorCode.BAD_REQUEST)
