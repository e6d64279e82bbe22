"""How long a command may take: its time counts from its arrival, however many wait before it.

A connection's commands are handled in the order they came, so the time of the first is over first, and nobody behind it
waits longer than that for an answer. A command whose time is over when its turn comes is answered and not begun.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("flotilla.realtime.command_time")

COMMAND_WITHIN = 4.0  # seconds from a command's arrival to its answer; clients wait 5 for a reply
MIN = 0.1  # seconds a command must have left to be begun: what cannot be done in time is not tried
LOOK_EVERY = 0.05  # seconds between two looks at commands whose time may be over
ALWAYS = frozenset({"unsubscribe"})
"""Begun however late: a client that left a channel must be out of it, in the order in which it left."""


def may_begin(method: str, due: float, now: float) -> bool:
    """Whether a command that is to be answered at `due` (loop time) is begun at all."""
    return now + MIN <= due or method in ALWAYS


class Dues:
    """Cancels the tasks whose command was not answered in time. One timer for all of them, for hardly any is: a task is
    noted when it begins to wait, and taken out when it is over."""

    __slots__ = ("_due", "_late", "_loop", "_timer")

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, task: "asyncio.Task[Any]", due: float) -> None:
        """The command that a task works at is to be answered at `due` (loop time)."""
        self._due[task] = due
        if self._timer is None or due < self._timer.when():
            self._look_at(due)

    def over(self, task: "asyncio.Task[Any]") -> None:
        """The task has ended."""
        self._due.pop(task, None)
        self._late.discard(task)

    def was_late(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether it is this which has cancelled the task; then it is cancelled no more, and may go on."""
        if task is None or task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

    def stop(self) -> None:
        """Cancel nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer, now = None, self._loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            self._late.add(task)
            task.cancel()
        if self._due:
            self._look_at(max(min(self._due.values()), now + LOOK_EVERY))


_abandoned: set[asyncio.Task[Any]] = set()


async def abandonable(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the project's own code. Whoever waits for it can be cancelled at any moment: the code is cancelled,
    too, but how long it takes to stop is nobody's wait."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            task.cancel()
            _abandoned.add(task)
            task.add_done_callback(_stopped)
        raise


def _stopped(task: "asyncio.Task[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("code of the project failed after its command was over", exc_info=error)
