"""A call of the API that is checked and not made yet: what its twins for threads and for coroutines share.

    def history(channel): return _history(channel).run()

    async def ahistory(channel): return await _history(channel).arun()

What is wrong with a call is raised while it is prepared, before anything is sent.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from asgiref.sync import sync_to_async
from django.db import transaction

from flotilla.realtime.conf import get_config
from flotilla.realtime.node.control import Acknowledged, Command, Control
from flotilla.store import Shard, StoreUnavailable, get_store
from flotilla.store.patience import Account, apatiently, patiently
from flotilla.tracing import Span

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

    def within(self, span: Span) -> "Prepared[Result]":
        """The same call as what a span is about, which was begun when the call was prepared."""

        def run() -> Result:
            with span.entered():
                return self.run()

        async def arun() -> Result:
            with span.entered():
                return await self.arun()

        return Prepared(run, arun)


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
    require_known(on_error)
    connection = transaction.get_connection(using)
    if wait and connection.in_atomic_block:
        if on_error == "raise" or forgive is None:
            transaction.on_commit(later or run, using)
        else:  # robust: a mistake of ours takes no hook with it either, and is logged by Django
            hook = _Hook(later or run, forgive, _account_of(connection.run_on_commit))
            transaction.on_commit(hook, using, robust=True)
        return None
    return _Hook(run, forgive, Account())() if on_error == "log" and forgive is not None else run()


async def at_once(
    run: Callable[[], Awaitable[Result]], shard: Shard, forgive: Forgive, on_error: OnError | None = None
) -> Result | None:
    """The same for coroutines, which are in no transaction. `shard`: the Redis that is asked."""
    require_known(on_error)
    if on_error != "log":
        return await run()
    try:
        async with shard.waiting_once(), apatiently(get_config().publish_within):
            return await run()
    except StoreUnavailable as error:
        forgive(error)
        return None


@dataclass(frozen=True, slots=True)
class _Hook(Generic[Result]):
    """A call that raises no error of Redis. Outside of a request, hooks of one commit share an account of waiting."""

    run: Callable[[], Result]
    forgive: Forgive
    account: Account

    def __call__(self) -> Result | None:
        try:
            with patiently(get_config().publish_within, self.account):
                return self.run()
        except StoreUnavailable as error:
            self.forgive(error)
            return None


def _account_of(hooks: Sequence[tuple[Any, ...]]) -> Account:
    """That of the transaction whose hooks these are so far, as Django keeps them: (savepoints, hook, robust)."""
    ours = (hook.account for _, hook, *_ in reversed(hooks) if isinstance(hook, _Hook))
    return next(ours, None) or Account()


def require_known(on_error: str | None) -> None:
    """Raise ValueError for another word in `on_error`."""
    if on_error not in (None, "log", "raise"):
        raise ValueError(f'on_error is "log", "raise" or None, not {on_error!r}')
