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
ALWAYS = frozenset({"unsubscribe"})
"""Begun however late: a client that left a channel must be out of it, in the order in which it left."""


def may_begin(method: str, due: float, now: float) -> bool:
    """Whether a command that is to be answered at `due` (loop time) is begun at all."""
    return now + MIN <= due or method in ALWAYS


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
