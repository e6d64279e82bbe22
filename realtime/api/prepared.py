"""A call of the API that is checked and not made yet: what its twins for threads and for coroutines share.

    def history(channel): return _history(channel).run()

    async def ahistory(channel): return await _history(channel).arun()

What is wrong with a call is raised while it is prepared, before anything is sent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import transaction

from flotilla.realtime.node.control import Acknowledged, Command, Control
from flotilla.store import get_store

Result = TypeVar("Result")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Result]):
    """`run` makes the call in a thread, `arun` in a coroutine. Both raise StoreUnavailable."""

    run: Callable[[], Result]
    arun: Callable[[], Awaitable[Result]]

    def then(self, read: Callable[[Result], Other]) -> "Prepared[Other]":
        """The same call, whose result is what `read` makes of this one's."""

        async def arun() -> Other:
            return read(await self.arun())

        return Prepared(lambda: read(self.run()), arun)


def order(command: Command, within: float) -> Prepared[Acknowledged]:
    """Have a command carried out by every instance, and wait so many seconds for their answers."""
    control = Control(get_store())
    return Prepared(partial(control.order_sync, command, within), partial(control.order, command, within))


def in_thread(run: Callable[[], Result]) -> Prepared[Result]:
    """A call that threads alone can make: a coroutine has one make it."""
    return Prepared(run, sync_to_async(run, thread_sensitive=False))


def after_commit(wait: bool, run: Callable[[], Result], later: Callable[[], object] | None = None) -> Result | None:
    """`run`, for threads. With `wait`, inside of a transaction: None, and its commit does `later`, or else `run`."""
    if wait and transaction.get_connection().in_atomic_block:
        transaction.on_commit(later or run)
        return None
    return run()
