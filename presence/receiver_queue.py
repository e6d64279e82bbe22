"""The receiver queue: calls of the project's signal receivers, apart from everything that others wait for.

However slow a receiver is, neither reaping nor a client's command waits for it. Calls with one key are made one after
another in the order they were put in; of different keys a few at a time. Receivers that are plain functions run in
threads of the queue's own, as many as it has workers, because the one thread that Django shares is the database's. The
log says which receiver is slow, the figures say how far the queue is behind.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from django.db import close_old_connections
from django.dispatch import Signal

logger = logging.getLogger(__name__)

WORKERS = 8  # calls at a time
MAX_WAITING = 2000  # calls in memory: with so many, who has another one waits or leaves it in Redis
SLOW = 0.25  # seconds: a receiver that takes longer is named in the log
SLOW_WHEN_BEHIND = 0.025  # the same, while the queue is behind
BEHIND = 2.0  # seconds: when a call has waited longer, the queue is behind
WARN_EVERY = 10.0  # seconds until the same receiver is named again

Call = Callable[[], Awaitable[None]]


class ReceiverQueue:
    """One per process. `put` never waits; `waiting`, `lag` and the counters may be read from any thread."""

    def __init__(self, workers: int = WORKERS) -> None:
        self.calls: Counter[str] = Counter()  # made, by name
        self.failures: Counter[str] = Counter()  # receivers that raised, by name
        self.slow: Counter[str] = Counter()  # receivers that were slow, by name
        self._size = workers
        self._waiting: dict[Hashable, deque[tuple[float, str, Call]]] = {}  # by key, in order; the oldest key first
        self._count = 0
        self._running: set[Hashable] = set()
        self._ready: deque[Hashable] = deque()  # keys with a call that may begin
        self._halted = False
        self._waited = 0.0  # by the call that began last
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._warn_at: dict[str, float] = {}  # receiver → when it may be named in the log again
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="signals")

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return self._count

    @property
    def busy(self) -> bool:
        """Whether a call waits or is under way."""
        return bool(self._count or self._running)

    @property
    def full(self) -> bool:
        """Whether no more should be put in for now."""
        return self._count >= MAX_WAITING

    @property
    def lag(self) -> float:
        """Seconds the oldest call has waited; 0 when none waits."""
        try:
            oldest = min(calls[0][0] for calls in list(self._waiting.values()) if calls)
        except (ValueError, IndexError):  # none, or taken at this moment by the loop's thread
            return 0.0
        return max(0.0, time.monotonic() - oldest)

    def put(self, key: Hashable, name: str, call: Call) -> None:
        """Make `call` when its turn comes, after those of the same key. What it raises is logged."""
        calls = self._waiting.get(key)
        if calls is None:
            calls = self._waiting[key] = deque()
            if key not in self._running:
                self._ready.append(key)
                self._due.set()
        calls.append((time.monotonic(), name, call))
        self._count += 1
        self._idle.clear()
        if self.full:
            self._room.clear()

    def take_back(self, key: Hashable) -> bool:
        """Take what waits under `key` out again; False when there is nothing, or it has begun."""
        calls = self._waiting.pop(key, None)
        if calls is None:
            return False
        self._took(len(calls))
        if key not in self._running:
            self._ready.remove(key)
        return True

    async def room(self) -> None:
        """Return when the queue is not full: for callers that can wait."""
        await self._room.wait()

    async def empty(self) -> None:
        """Return when every call is over."""
        await self._idle.wait()

    def halt(self) -> None:
        """Begin nothing more: `run` returns when the calls that are under way are over."""
        self._halted = True
        self._due.set()

    def close(self) -> None:
        """End the threads; one that is in a receiver is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        """Make calls until halted. Cancelling it ends the calls that are under way; those that wait stay."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._size):
                group.create_task(self._work())

    async def _work(self) -> None:
        while not self._halted:
            if not self._ready:
                self._due.clear()
                await self._due.wait()
                continue
            await self._next(self._ready.popleft())

    async def _next(self, key: Hashable) -> None:
        calls = self._waiting.get(key)
        if not calls:
            return
        since, name, call = calls.popleft()
        self._waited = time.monotonic() - since
        if not calls:
            del self._waiting[key]
        self._took(1)
        self._running.add(key)
        self.calls[name] += 1
        try:
            await call()
        except Exception:
            logger.exception("a call for %s failed", name)
        finally:
            self._running.discard(key)
            if key in self._waiting:
                self._ready.append(key)
                self._due.set()
            self._took(0)

    def _took(self, count: int) -> None:
        self._count -= count
        if not self.full:
            self._room.set()
        if not self._count and not self._running:
            self._idle.set()

    async def send(self, name: str, signal: Signal, sender: Any, **facts: Any) -> None:
        """Call every receiver of a signal, from within a call of the queue. What they raise is logged."""
        plain, coroutines = signal._live_receivers(sender)
        facts |= {"signal": signal, "sender": sender}
        if plain:
            work = partial(copy_context().run, self._send_plain, name, plain, facts)
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
        await asyncio.gather(*(self._send_one(name, receiver, facts) for receiver in coroutines))

    def _send_plain(self, name: str, receivers: list[Any], facts: dict[str, Any]) -> None:
        for receiver in receivers:
            with self._timed(name, receiver):
                receiver(**facts)
        close_old_connections()

    async def _send_one(self, name: str, receiver: Any, facts: dict[str, Any]) -> None:
        with self._timed(name, receiver):
            await receiver(**facts)

    @contextlib.contextmanager
    def _timed(self, name: str, receiver: Any) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except Exception:
            self.failures[name] += 1
            logger.exception("a receiver of %s failed: %s", name, _called(receiver))
        took = time.monotonic() - began
        if took < (SLOW_WHEN_BEHIND if self._waited > BEHIND else SLOW):
            return
        self.slow[name] += 1
        who = _called(receiver)
        if self._warn_at.get(who, 0.0) <= began:
            self._warn_at[who] = time.monotonic() + WARN_EVERY
            behind = (self.waiting, self._waited)
            logger.warning(
                "a receiver of %s is slow: %s took %.3f s; %d calls wait, the last for %.1f s", name, who, took, *behind
            )


def _called(receiver: Any) -> str:
    """A receiver by its name, which is the same for every instance of its class: so the names kept are few."""
    return f"{getattr(receiver, '__module__', '?')}.{getattr(receiver, '__qualname__', type(receiver).__qualname__)}"
