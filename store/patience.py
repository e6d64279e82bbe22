"""How long one request waits for Redis in all, over everything that it sends once its own work is done.

A publication after a commit is a courtesy to those who watch; the request is finished, and its client waits. So there
is one account of waiting for all calls of a request: what a call takes beyond what a healthy Redis needs is paid from
it, and when it is used up nothing is asked any more. It belongs to the context: a thread of a WSGI server, or whatever
coroutines and threads serve one ASGI request. It begins anew with each request, and elsewhere (in a worker) some
seconds after it was first drawn on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from flotilla.store import deadline
from flotilla.store.errors import StoreNotAsked, StoreSilent

FREE = 0.05  # seconds of each call that cost nothing
PERIOD = 10.0  # seconds after which the account is full again


class Account:
    """What was spent; all times are seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent = 0.0
        self._since = 0.0

    def left(self, total: float) -> float:
        """What may still be spent of so much."""
        if self._spent and self._clock() > self._since + PERIOD:
            self._spent = 0.0
        return total - self._spent

    def spend(self, took: float) -> None:
        """A call took so long."""
        if took <= FREE:
            return
        if not self._spent:
            self._since = self._clock() - took
        self._spent += took - FREE


_current: ContextVar[Account | None] = ContextVar("flotilla_patience", default=None)


def begin(**_: Any) -> None:
    """Another request begins. A receiver of Django's signal `request_started`."""
    _current.set(None)


@contextmanager
def patiently(total: float) -> Iterator[None]:
    """For a thread: calls in the block wait no longer than the request has left of its `total` seconds.

    Raises StoreNotAsked when nothing is left.
    """
    account = _account()
    seconds = _left(account, total)
    began = time.monotonic()
    try:
        with deadline.within(seconds):
            yield
    finally:
        account.spend(time.monotonic() - began)


@asynccontextmanager
async def apatiently(total: float) -> AsyncIterator[None]:
    """The same for a coroutine. Raises StoreSilent when the time is up."""
    account = _account()
    seconds = _left(account, total)
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StoreSilent(f"Redis does not answer: nothing within {seconds:.2f} s") from None
    finally:
        account.spend(time.monotonic() - began)


def _account() -> Account:
    account = _current.get()
    if account is None:
        account = Account()
        _current.set(account)
    return account


def _left(account: Account, total: float) -> float:
    left = account.left(total)
    if left <= 0:
        raise StoreNotAsked(f"this request has waited {total:g} s for Redis, and waits no more")
    return left + FREE
