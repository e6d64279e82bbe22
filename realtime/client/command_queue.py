"""A client's commands: handled one after another in the order they came, each within its time.

A command is handled at once where nothing has to be waited for, else by a task that lives only while there is something
to do. How many commands wait is bounded, and how long each may take (`command_time`). What a command means is its
handler's business; this module knows only whether it may be asked now.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from flotilla.realtime.client import command_time
from flotilla.realtime.client.states import State
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import Command
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.client")

Continuation = Callable[[], Awaitable[bytes | None]]
"""What is left to do for a command; gives the reply, or None when it has sent the reply itself or there is none."""

Handler = Callable[[Any, int, Any], Any]
"""Handles a request: takes the client, the command's id and the request.

A coroutine function that gives the reply or None, as a continuation does. Those of AT_ONCE are plain functions that
mostly need not wait, and return the reply, None, or a continuation.
"""

AT_ONCE = frozenset({"publish", "unsubscribe"})


class Asker(Protocol):
    """The client whose commands these are."""

    state: State
    errors: int
    commands: "CommandQueue"

    @property
    def node(self) -> Any: ...

    def move(self, state: State) -> None: ...

    def refuse(self) -> None: ...

    def free_place(self) -> None: ...

    def send(self, payload: bytes) -> None: ...

    def disconnect(self, code: int, reason: str | None = None) -> None: ...

    def disconnect_for(self, error: DisconnectError) -> None: ...

    def log_context(self) -> dict[str, Any]: ...


class CommandQueue:
    """The commands of one client. Each call is given the client, so that nothing here keeps a closed one in memory.

    `due` is the loop time at which the command under way is to be answered, 0.0 while there is none. `unanswered` is
    how many were sent to Redis and will be answered later, while others are handled. `handled` counts all so far, and
    `last_error` is the last one's method, what was answered, and when (Unix seconds).
    """

    __slots__ = ("_waiting", "_worker", "due", "handled", "last_error", "unanswered")

    def __init__(self) -> None:
        self.due = 0.0
        self.unanswered = 0
        self.handled = 0
        self.last_error: tuple[str, str, float] | None = None
        self._waiting: deque[tuple[float, Command]] | None = None  # with the time at which each is to be answered
        self._worker: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a command is under way that somebody has to wait for."""
        return self._worker is not None

    @property
    def waiting(self) -> int:
        """How many wait for their turn or for Redis."""
        return self.unanswered + (len(self._waiting) if self._waiting is not None else 0)

    def put(self, client: Asker, command: Command) -> None:
        """Handle a command, now or after those before it. Raises DisconnectError."""
        if self.waiting >= client.node.config.max_queued_commands:
            raise DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail="too many commands are waiting")
        due = client.node.now() + command_time.COMMAND_WITHIN
        if self._waiting is not None:
            self._waiting.append((due, command))
            return
        rest = _begin(client, command, due)
        if rest is not None:
            self.due = due
            self._waiting = deque()
            self._worker = asyncio.ensure_future(self._work(client, command, rest))

    def cancel(self) -> None:
        """The client is gone: nothing more is done for it. A command that has ended it goes on to its own end."""
        if self._worker is not None and self._worker is not asyncio.current_task():
            self._worker.cancel()

    async def _work(self, client: Asker, command: Command, rest: Continuation) -> None:
        """Finish a command, then all that wait behind it."""
        try:
            while True:
                await self._finish(client, command, rest)
                following = self._begin_next(client)
                if following is None:
                    return
                command, rest = following
        except DisconnectError as error:
            client.disconnect_for(error)
        except Exception:
            logger.exception("a command failed", extra=client.log_context())
            client.disconnect(DisconnectCode.INTERNAL)
        finally:
            self._worker = None
            self._waiting = None
            self.due = 0.0

    def _begin_next(self, client: Asker) -> tuple[Command, Continuation] | None:
        """Handle those that need not wait, up to the first that does."""
        while self._waiting and client.state not in (State.REFUSED, State.CLOSED):
            self.due, command = self._waiting.popleft()
            if not command_time.may_begin(command.method, self.due, client.node.now()):
                _send(client, _failed(client, command, "its time was over before its turn came"))
                _answered(client, command.method, self.due)
                continue
            rest = _begin(client, command, self.due)
            if rest is not None:
                return command, rest
        return None

    async def _finish(self, client: Asker, command: Command, rest: Continuation) -> None:
        try:
            async with asyncio.timeout_at(self.due):
                answer = await rest()
        except CommandError as error:
            if error.detail:
                logger.info("%s", error.detail, extra=client.log_context() | {"code": error.code})
            note_error(client, command.method, channel_of(command), error)
            answer = replies.error(command.id, error)
        except (StoreUnavailable, TimeoutError) as error:
            answer = _failed(client, command, str(error) or "too slow")
        _send(client, answer)
        if answer is not None or command.method not in AT_ONCE:  # else its answer follows
            _answered(client, command.method, self.due)
        if client.state is State.CONNECTING:
            client.refuse()


def _begin(client: Asker, command: Command, due: float) -> Continuation | None:
    """Do what can be done of a command at once; what is left is returned. Raises DisconnectError."""
    method = command.method
    handler = client.node.handlers.get(method)
    if handler is None:
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"no such request: {method or 'empty command'}")
    if (method == "connect") is not (client.state is State.AWAITING_CONNECT):
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"{method} while {client.state.name}")
    if not command.id and method != "send":
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"{method} without an id")
    client.node.stats.commands[method] += 1
    client.commands.handled += 1
    if client.node.taps is not None:
        client.node.taps.command(client, command)
    if not command.fits:
        return partial(_refuse_unfit, client, method)
    if method not in AT_ONCE:
        return partial(handler, client, command.id, getattr(command, method))
    try:
        answer = handler(client, command.id, getattr(command, method))
    except CommandError as error:
        note_error(client, method, channel_of(command), error)
        answer = replies.error(command.id, error)
    if answer is None:  # it follows
        return None
    if isinstance(answer, bytes):
        _send(client, answer)
        _answered(client, method, due)
        return None
    rest: Continuation = answer
    return rest


def _answered(client: Asker, method: str, due: float) -> None:
    """Count how long a client has waited for the answer to a command that was due at a loop time."""
    client.node.stats.durations[method].observe(client.node.now() - due + command_time.COMMAND_WITHIN)


def _send(client: Asker, answer: bytes | None) -> None:
    if answer is not None:
        client.send(answer)


def _failed(client: Asker, command: Command, why: str) -> bytes | None:
    """The answer to a command that could not be done for now: try again. `send` has none."""
    logger.warning("%s could not be done: %s", command.method, why, extra=client.log_context())
    error = CommandError(ErrorCode.INTERNAL)
    note_error(client, command.method, channel_of(command), error)
    return replies.error(command.id, error) if command.id else None


def note_error(client: Asker, method: str, channel: str, error: CommandError) -> None:
    """A command is answered with an error: counted, kept as the client's last one, and told to who looks."""
    node, said = client.node, f"{int(error.code)} {error.message}"
    client.errors += 1
    node.stats.errors[error.code] += 1
    client.commands.last_error = (method, said, node.wall())
    if node.taps is not None:
        node.taps.error(client, method, channel, said)


def channel_of(command: Command) -> str:
    """The channel that a command names, "" where it names none."""
    return getattr(getattr(command, command.method), "channel", "") if command.fits else ""


async def _refuse_unfit(client: Asker, method: str) -> bytes | None:
    """Answer a command that cannot be used with 107, as its handler would if the command could be read."""
    if method == "send":
        return None  # it has no answer
    if method == "connect":
        client.move(State.CONNECTING)
        client.free_place()
    raise CommandError(ErrorCode.BAD_REQUEST)
