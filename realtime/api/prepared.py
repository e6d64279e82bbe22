"""A call of the API that is checked and not made yet: what its twins for threads and for coroutines share.

    def history(channel): return _history(channel).run()

    async def ahistory(channel): return await _history(channel).arun()

What is wrong with a call is raised while it is prepared, before anything is sent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, TypeVar

from asgiref.sync import sync_to_async
from django.db import transaction

from flotilla.realtime.conf import get_config
from flotilla.realtime.node.control import Acknowledged, Command, Control
from flotilla.store import StoreUnavailable, get_store
from flotilla.store.patience import apatiently, patiently

Result = TypeVar("Result")
Other = TypeVar("Other")
OnError = Literal["log", "raise"]
"""What becomes of an error of Redis. Without either it is logged after a commit, and raised everywhere else."""
Forgive = Callable[[StoreUnavailable], object]


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


def after_commit(
    wait: bool,
    run: Callable[[], Result],
    later: Callable[[], object] | None = None,
    *,
    using: str | None = None,
    forgive: Forgive | None = None,
    on_error: OnError | None = None,
) -> Result | None:
    """`run`, for threads. With `wait`, inside of a transaction of the database `using`: None, and its commit does
    `later`, or else `run`.

    Where errors of Redis are not to be raised, which is what None means after a commit, `forgive` is told of one, and
    nothing waits longer for Redis than the request may. Raises ValueError for another word in `on_error`.
    """
    _require_known(on_error)
    if wait and transaction.get_connection(using).in_atomic_block:
        if on_error == "raise" or forgive is None:
            transaction.on_commit(later or run, using)
        else:  # robust: a mistake of ours takes no hook with it either, and is logged by Django
            transaction.on_commit(partial(_forgiving, later or run, forgive), using, robust=True)
        return None
    return _forgiving(run, forgive) if on_error == "log" and forgive is not None else run()


async def at_once(
    run: Callable[[], Awaitable[Result]], forgive: Forgive, on_error: OnError | None = None
) -> Result | None:
    """The same for coroutines, which are in no transaction."""
    _require_known(on_error)
    if on_error != "log":
        return await run()
    try:
        async with apatiently(get_config().publish_within):
            return await run()
    except StoreUnavailable as error:
        forgive(error)
        return None


def _forgiving(run: Callable[[], Result], forgive: Forgive) -> Result | None:
    try:
        with patiently(get_config().publish_within):
            return run()
    except StoreUnavailable as error:
        forgive(error)
        return None


def _require_known(on_error: str | None) -> None:
    if on_error not in (None, "log", "raise"):
        raise ValueError(f'on_error is "log", "raise" or None, not {on_error!r}')
