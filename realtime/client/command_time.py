"""How long a command may take: its time counts from its arrival, whoever waits before it.

A connection's commands are handled in the order they came, so the time of the one in front is over first: whoever waits
behind it is answered as early as it is. A command whose time is over when its turn comes is answered and not begun.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.patience")

MIN = 0.1  # seconds a command must have left to be begun: what cannot be done in time is not tried
ALWAYS = frozenset({"unsubscribe"})
"""Begun however late: who left a channel must be out of it, in the order in which it left."""


def begins(method: str, due: float, now: float) -> bool:
    """Whether a command that is to be answered at `due` (loop time) is begun at all."""
    return now + MIN <= due or method in ALWAYS


def in_time(answer: "asyncio.Future[Any]", due: float) -> "asyncio.Future[Any]":
    """`answer`, or StoreUnavailable at `due` (loop time); what Redis says later is nobody's."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Any] = loop.create_future()

    def pass_on(done: "asyncio.Future[Any]") -> None:
        timer.cancel()
        if done.cancelled():
            told.cancel()
        elif error := done.exception():
            _fail(told, error)
        elif not told.done():
            told.set_result(done.result())

    timer = loop.call_at(due, lambda: _fail(told, StoreUnavailable("no reply in the command's time")))
    answer.add_done_callback(pass_on)
    return told


_left_behind: set[asyncio.Task[Any]] = set()


async def or_left_behind(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the project's own code. Whoever is cancelled while it waits does not wait for that code to stop: it
    is told to, and may do as it likes."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            task.cancel()
            _left_behind.add(task)
            task.add_done_callback(_stopped)
        raise


def _stopped(task: "asyncio.Task[Any]") -> None:
    _left_behind.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("what was left behind failed", exc_info=error)


def _fail(told: "asyncio.Future[Any]", error: BaseException) -> None:
    if not told.done():
        told.set_exception(error)
