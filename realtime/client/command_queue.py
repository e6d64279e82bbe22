"""A client's commands: handled one after another in the order they came, each within its time.

A command is handled at once where nothing has to be waited for, else by a task that lives only while there is something
to wait for. How many commands wait is bounded, and how long each may take (`command_time`). What a command means is its
handler's business; this module knows only whether it may be asked now.

A subscribe right behind a connect is begun while the connect waits for nothing but to be entered in Redis, so that both
ask Redis in one round trip. It is answered behind the connect, and comes to nothing if that does.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, Protocol

from flotilla.realtime.client import command_time
from flotilla.realtime.client.states import State
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import Command
from flotilla.realtime.protocol.encodings import Encoding
from flotilla.store import StoreUnavailable
from flotilla.store.begun import begin

logger = logging.getLogger("flotilla.realtime.client")

Continuation = Callable[[], Coroutine[Any, Any, "Answer"]]
"""What is left to do for a command; gives the reply, or None when it has sent the reply itself or there is none."""

Handler = Callable[[Any, int, Any], Any]
"""Handles a request: takes the client, the command's id and the request.

A coroutine function that gives the reply or None, as a continuation does. Those of AT_ONCE are plain functions that
mostly need not wait, and return the reply, None, or a continuation.
"""

AT_ONCE = frozenset({"publish", "unsubscribe"})
AHEAD = "subscribe"  # the command that is begun while a connect before it waits


class Reply(NamedTuple):
    """A reply behind which something is to be done at once."""

    payload: bytes
    then: Callable[[], None]


Answer = bytes | Reply | None


class Asker(Protocol):
    """The client whose commands these are."""

    state: State
    errors: int
    commands: "CommandQueue"

    @property
    def node(self) -> Any: ...

    @property
    def encoding(self) -> Encoding: ...

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

    __slots__ = ("_ahead", "_gate", "_waiting", "_worker", "due", "handled", "last_error", "lets_ahead", "unanswered")

    def __init__(self) -> None:
        self.due = 0.0
        self.unanswered = 0
        self.handled = 0
        self.last_error: tuple[str, str, float] | None = None
        self.lets_ahead = False  # the connect under way waits for nothing but to be entered
        self._waiting: deque[tuple[float, Command]] | None = None  # with the time at which each is to be answered
        self._worker: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[None] | None = None  # works at the subscribe behind that connect, and then goes on
        self._gate: asyncio.Future[None] | None = None  # where it waits until the connect was answered

    @property
    def busy(self) -> bool:
        """Whether a command is under way that somebody has to wait for."""
        return self._waiting is not None

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
            if self.lets_ahead and command.method == AHEAD and not self._waiting and self._ahead is None:
                self._put_ahead(client, command, due)
            else:
                self._waiting.append((due, command))
            return
        rest = _begin(client, command, due)
        if rest is not None:
            self.due = due
            self._waiting = deque()
            self._worker = begin(self._work(client, command, rest))
            if self._worker is not None:
                client.node.dues.note(self._worker, due)

    def _put_ahead(self, client: Asker, command: Command, due: float) -> None:
        rest = _begin(client, command, due)
        if rest is not None:
            self._ahead = begin(self._work_ahead(client, command, rest, due))
            if self._ahead is not None:
                client.node.dues.note(self._ahead, due)

    def cancel(self) -> None:
        """The client is gone: nothing more is done for it. A command that has ended it goes on to its own end."""
        for task in (self._worker, self._ahead):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def _work(self, client: Asker, command: Command, rest: Continuation) -> None:
        """Finish a command, then all that wait behind it, or leave those to who works ahead."""
        try:
            answer = await self._answer(client, command, rest, self.due)
            self._give(client, command, answer, self.due)
            if self._ahead is None:
                await self._go_on(client)
        except DisconnectError as error:
            client.disconnect_for(error)
        except Exception:
            logger.exception("a command failed", extra=client.log_context())
            client.disconnect(DisconnectCode.INTERNAL)
        finally:
            self._leave(client)

    async def _work_ahead(self, client: Asker, command: Command, rest: Continuation, due: float) -> None:
        """As `_work`, for a command whose turn has not come: its answer is given when it has."""
        try:
            answer = await self._answer(client, command, rest, due)
            if self.lets_ahead:
                self._gate = asyncio.get_running_loop().create_future()
                await self._gate
            if client.state is State.CONNECTED:
                self.due = due
                self._give(client, command, answer, due)
                await self._go_on(client)
        except DisconnectError as error:
            client.disconnect_for(error)
        except Exception:
            logger.exception("a command failed", extra=client.log_context())
            client.disconnect(DisconnectCode.INTERNAL)
        finally:
            if not self.lets_ahead:
                self._leave(client)
            elif self._ahead is not None:  # it has ended before its turn
                client.node.dues.over(self._ahead)
                self._ahead = None

    async def _go_on(self, client: Asker) -> None:
        """Finish what waits."""
        while (following := self._begin_next(client)) is not None:
            command, rest = following
            if self._worker is not None:
                client.node.dues.note(self._worker, self.due)
            answer = await self._answer(client, command, rest, self.due)
            self._give(client, command, answer, self.due)

    def _leave(self, client: Asker) -> None:
        """The worker ends: who works ahead is the worker from now on, if anybody is, unless all was for nothing."""
        if self._worker is not None:
            client.node.dues.over(self._worker)
        self.lets_ahead = False
        self._worker, self._ahead, gate, self._gate = self._ahead, None, self._gate, None
        if self._worker is not None and client.state is not State.CONNECTED:
            self._worker.cancel()
        elif gate is not None and not gate.done():
            gate.set_result(None)
        if self._worker is None:
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

    async def _answer(self, client: Asker, command: Command, rest: Continuation, due: float) -> Answer:
        """What is left to do for a command, and the answer to it."""
        try:
            return await rest()
        except CommandError as error:
            if error.detail:
                logger.info("%s", error.detail, extra=client.log_context() | {"code": error.code})
            note_error(client, command.method, channel_of(command), error)
            return client.encoding.error(command.id, error)
        except (StoreUnavailable, TimeoutError) as error:
            return _failed(client, command, str(error) or "too slow")
        except asyncio.CancelledError:
            if not client.node.dues.was_late(asyncio.current_task()):
                raise
            return _failed(client, command, "too slow")

    def _give(self, client: Asker, command: Command, answer: Answer, due: float) -> None:
        """Send the answer to a command, and count how long that took."""
        _send(client, answer)
        if answer is not None or command.method not in AT_ONCE:  # else its answer follows
            _answered(client, command.method, due)
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
        answer = client.encoding.error(command.id, error)
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


def _send(client: Asker, answer: Answer) -> None:
    if isinstance(answer, Reply):
        client.send(answer.payload)
        answer.then()
    elif answer is not None:
        client.send(answer)


def _failed(client: Asker, command: Command, why: str) -> bytes | None:
    """The answer to a command that could not be done for now: try again. `send` has none."""
    logger.warning("%s could not be done: %s", command.method, why, extra=client.log_context())
    error = CommandError(ErrorCode.INTERNAL)
    note_error(client, command.method, channel_of(command), error)
    return client.encoding.error(command.id, error) if command.id else None


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
