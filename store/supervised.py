"""Tasks that others rely on: none of them ends by an exception.

The work of such a task begins again after any failure, with pauses that grow while it goes on failing. Each failure is
counted under the task's name; the log has the first of a series.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.store.backoff import Backoff
from flotilla.store.errors import StoreUnavailable
from flotilla.store.once import Once

logger = logging.getLogger("flotilla.store.supervised")

Work = Callable[[], Awaitable[Any]]

FIRST_PAUSE = 0.05  # seconds
MAX_PAUSE = 2.0
CANCELLED_AGAIN = 0.5  # seconds
STEADY = 10.0  # seconds of work after which the pauses begin short again

restarts: Counter[str] = Counter()
"""How often tasks began again, by name. The names are constants, so there are few."""


def supervised(name: str, work: Work) -> "asyncio.Task[None]":
    """A task that runs `work` until it returns, however often that takes. Cancel it to end it."""
    restarts[name] += 0
    return asyncio.get_running_loop().create_task(keep(name, work), name=name)


async def ended(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks, and wait until they have ended, however they end. One that goes on is cancelled again: asyncio's
    wait_for, by which redis-py sends, loses a cancellation that comes together with what it waits for (Python 3.11)."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCELLED_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


class SupervisedTask:
    """A supervised task that has a beginning and an end. Both may be receivers of a signal; doing either twice does
    nothing."""

    def __init__(self, name: str, work: Work) -> None:
        self._name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def start(self, **_: Any) -> None:
        """Begin, in the running event loop."""
        if self._task is None:
            self._task = supervised(self._name, self._work)

    async def stop(self, **_: Any) -> None:
        """End it, and wait until it has ended."""
        task, self._task = self._task, None
        if task is not None:
            await ended(task)


async def keep(name: str, work: Work, clock: Callable[[], float] | None = None) -> None:
    """Run `work` until it returns."""
    clock, task = clock or asyncio.get_running_loop().time, asyncio.current_task()
    assert task is not None
    backoff, once = Backoff(FIRST_PAUSE, MAX_PAUSE), Once()
    while True:
        began = clock()
        try:
            await work()
            return
        except asyncio.CancelledError as error:
            failure: BaseException = error  # of this task, or of something that it waited for
        except Exception as error:  # noqa: BLE001  that is what this is for
            failure = error
        if task.cancelling():
            raise asyncio.CancelledError
        if clock() - began > STEADY:
            backoff.reset()
        restarts[name] += 1
        _tell(name, failure, once)
        await asyncio.sleep(backoff.next())


def _tell(name: str, failure: BaseException, once: Once) -> None:
    if not once.news(type(failure).__name__):
        return
    if isinstance(failure, StoreUnavailable):
        logger.warning("%s failed and begins again: %s", name, failure)
    else:
        logger.error("%s failed and begins again", name, exc_info=failure)
