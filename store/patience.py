"""How long one request waits for Redis in all, over everything that it sends once its own work is done.

A publication after a commit is a courtesy to those who watch; the request is finished, and its client waits. So there
is one account of waiting for all calls of a request: what a call takes beyond what a healthy Redis needs is paid from
it, and when it is used up nothing is asked any more. Outside of requests (in a worker) each commit has its own account,
or each call: there, waiting holds up nobody, and a slow moment must not lose what comes after it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync

from flotilla.store import deadline
from flotilla.store.errors import StoreNotAsked, StoreSilent

FREE = 0.05  # seconds of each call that cost nothing
PERIOD = 10.0  # seconds after which the account of a request that goes on (a stream) is full again


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


_of_thread: ContextVar[Account | None] = ContextVar("flotilla_patience", default=None)
_of_request: "WeakKeyDictionary[Any, Account]" = WeakKeyDictionary()


def begin(**_: Any) -> None:
    """A request begins in this thread. A receiver of Django's signal `request_started`."""
    _of_thread.set(Account())


def end(**_: Any) -> None:
    """It is over. A receiver of `request_finished`."""
    _of_thread.set(None)


def of_request() -> Account | None:
    """The account of the request that is being answered; None outside of requests.

    Under WSGI a request is a thread's, between two signals. Under ASGI what receivers of signals set does not reach the
    request; there it is the context in which Django has all threads of one request run.
    """
    if (account := _of_thread.get()) is not None:
        return account
    request = SyncToAsync.thread_sensitive_context.get(None)
    return None if request is None else _of_request.setdefault(request, Account())


@contextmanager
def patiently(total: float, account: Account | None = None) -> Iterator[None]:
    """For a thread: calls in the block wait no longer than the request has left of its `total` seconds; outside of
    requests, than `account` has.

    Raises StoreNotAsked when nothing is left.
    """
    account = of_request() or account or Account()
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
    account = of_request() or Account()
    seconds = _left(account, total)
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StoreSilent(f"Redis does not answer: nothing within {seconds:.2f} s") from None
    finally:
        account.spend(time.monotonic() - began)


def _left(account: Account, total: float) -> float:
    left = account.left(total)
    if left <= 0:
        raise StoreNotAsked(f"{total:g} s were waited for Redis, and no more are")
    return left + FREE
