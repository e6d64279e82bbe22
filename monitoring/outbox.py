"""The outbox of each database: what it holds back, as every instance sees it, and what the relay of this process did.

Each instance looks every few seconds, whether or not it relays: an alert has to fire when nobody does. It looks in a
thread of its own, so that a database that hangs holds up nothing else, over a connection that lasts for one look. What
it saw is told for a while only: silence about an outbox is better than figures that nobody looked up.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connections
from prometheus_client.core import Metric

from flotilla.monitoring.families import gauges, histograms, sums
from flotilla.realtime.outbox.backlog import MOST, Backlog, backlog, databases, has_outbox
from flotilla.realtime.outbox.stats import RelayStats, relay_stats
from flotilla.store.once import Once
from flotilla.store.supervised import SupervisedTask

logger = logging.getLogger("flotilla.monitoring.outbox")

EVERY = 10.0  # seconds
TOLD_FOR = 45.0  # seconds after a look


class Seen(NamedTuple):
    """A backlog, and when it was looked up (of the monotonic clock)."""

    backlog: Backlog
    at: float


class OutboxWatch(SupervisedTask):
    """Looks from `start` to `stop`. `seen`: by database, what the last look found that was answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("outbox-backlog", self._watch)
        self.seen: dict[str, Seen] = {}
        self._clock = clock
        self._news = Once(quiet=600.0)

    def backlogs(self) -> dict[str, Backlog]:
        """By database; of those that were answered for lately."""
        now = self._clock()
        return {using: one.backlog for using, one in dict(self.seen).items() if now - one.at < TOLD_FOR}

    def look(self) -> None:
        """Ask each database once. It blocks."""
        for using in databases():
            try:
                if using in self.seen or has_outbox(using):  # a query about no table is an error in the database's log
                    self.seen[using] = Seen(backlog(using), self._clock())
            except (DatabaseError, InterfaceError) as error:
                if self._news.news(using):
                    logger.warning("the outbox of database %s cannot be looked at: %s", using, error)

    async def _watch(self) -> None:
        while True:
            await _aside(self.look)
            await asyncio.sleep(EVERY)


async def _aside(work: Callable[[], None]) -> None:
    """Run what asks databases in a thread that nobody waits for at the end, however long a database hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(failure: Exception | None) -> None:
        if done.cancelled():
            return
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)

    def run() -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001  it is raised where the work is awaited
            failure = error
        finally:
            connections.close_all()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, failure)

    Thread(target=run, name="outbox-backlog", daemon=True).start()
    await done


outbox_watch = OutboxWatch()
"""That of this process."""


def outbox_metrics() -> Iterator[Metric]:
    """By the alias of the database. Where no outbox was seen and none is relayed, nothing."""
    backlogs, relays = outbox_watch.backlogs(), relay_stats()
    if not backlogs and not relays:
        return
    seen = {using: backlogs[using] for using in sorted(backlogs)}
    yield gauges(
        "outbox_waiting",
        f"Rows that wait to be sent, as this instance sees it; {MOST} stands for so many or more.",
        ("database",),
        {(using,): one.waiting for using, one in seen.items()},
    )
    yield gauges(
        "outbox_oldest_seconds",
        "How long the first row that waits has, as this instance sees it.",
        ("database",),
        {(using,): one.oldest for using, one in seen.items()},
    )
    yield gauges(
        "outbox_set_aside",
        f"Rows that could not be sent, as this instance sees it; {MOST} stands for so many or more.",
        ("database",),
        {(using,): one.set_aside for using, one in seen.items()},
    )
    yield from _relays({using: relays.get(using, RelayStats()) for using in sorted({*backlogs, *relays})})


def _relays(relays: Mapping[str, RelayStats]) -> Iterator[Metric]:
    yield gauges(
        "outbox_relay",
        "1 while this process has the lease to send a database's rows.",
        ("database",),
        {(using,): float(one.holds) for using, one in relays.items()},
    )
    results = {
        (using, result): count
        for using, one in relays.items()
        for result, count in (
            ("sent", one.sent),
            ("repeated", one.repeats),
            ("resent", one.resent),
            ("set_aside", one.set_aside),
        )
    }
    yield sums(
        "outbox_rows",
        "Rows this process's relay has done with: sent, sent again as Redis had lost them (resent), found to be there "
        "already (repeated), given up after all attempts (set_aside).",
        ("database", "result"),
        results,
    )
    lags = {using: one.lag for using, one in relays.items()}
    says = "From a row's commit (elsewhere than on PostgreSQL: from its writing) to its sending."
    yield histograms("outbox_lag_seconds", says, "database", lags)
