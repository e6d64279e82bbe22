"""The relay of one database: it sends the rows that were committed there, in order, as long as it holds the lease.

Each round reads a batch, sends it, and notes what became of it in one transaction that keeps the lease (`lease.py`).
What cannot be sent now waits here and holds up nobody else: a Redis that is away its own channels, a row that is
refused its own. A database that is away is tried again, for ever.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.utils import timezone

from flotilla.realtime.conf import get_config
from flotilla.realtime.engine.broker import get_broker
from flotilla.realtime.outbox import keep, source
from flotilla.realtime.outbox.backlog import why_not_relayed
from flotilla.realtime.outbox.lease import FREED, Lease, LeaseLost
from flotilla.realtime.outbox.order import WAKE
from flotilla.realtime.outbox.sender import Fate, Outcome, Sender, generation_of
from flotilla.realtime.outbox.stats import RelayStats, stats_of
from flotilla.realtime.outbox.waiting import Row, Sent, note_failed, note_sent, read, waits
from flotilla.realtime.outbox.waker import Waker
from flotilla.store import Backoff, Shard, Store, StoreUnavailable
from flotilla.store.conf import get_store_config
from flotilla.store.once import Once
from flotilla.store.together import together

logger = logging.getLogger("flotilla.outbox")

IDLE = 1.0  # seconds between two looks while nothing happens
LIVELY = 0.2  # seconds between two looks after something was sent lately, or while something is held up
LATELY = 5.0  # seconds
LOOK_AGAIN = 5.0  # seconds between two looks at a database that has no outbox, or is a replica
STANDBY = 1.0  # seconds, at most, between two looks whether the lease is free
LOOK_AT_REDIS_EVERY = 2.0  # seconds
DELETE_EVERY = 10.0  # seconds between two looks for old rows; a full page is followed by another at once
WALK_EVERY = 0.1  # seconds between two steps of a walk
MAX_HELD = 10_000  # channels that are held up because of a row
SET_ASIDE = "channel %s: row %d is set aside after %d attempts: %s"


@dataclass(slots=True)
class _Held:
    """What is tried again after a pause."""

    backoff: Backoff
    until: float = 0.0

    def pause(self, now: float) -> None:
        self.until = now + self.backoff.next()


class Relay:
    """Relays from `run` to `stop`; or all that waits, in `once`. All but `stop` and `wake` in one thread."""

    def __init__(self, using: str, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.using = using
        self.stats: RelayStats = stats_of(using)
        self._store = store
        self._clock = clock
        self._lease = Lease(using, f"{get_store_config().instance_id}.{secrets.token_hex(4)}", clock)
        self._sender = Sender(using, store, get_broker(store))
        self._walk = keep.Walk(using, store)
        self._waker = Waker(using)
        self._stopped = threading.Event()
        self._held: dict[str, _Held] = {}  # channels
        self._away: dict[int, _Held] = {}  # Redises
        self._known: dict[int, tuple[bytes | None, ...]] = {}  # the generations of each Redis's partitions
        self._next_look = self._next_delete = self._next_step = 0.0
        self._last_sent = -LATELY
        self._source_is_known = self._is_there = False
        self._highest = 0
        self._faults = Backoff(first=0.2, longest=5.0)
        self._news = Once(quiet=600.0)

    def stop(self) -> None:
        """End soon, and give the lease back. Any thread may say so."""
        self._stopped.set()
        self._waker.wake()

    def wake(self) -> None:
        """Rows were committed. Any thread may say so."""
        if self.stats.holds:
            self._waker.wake()

    def run(self) -> None:
        """Relay until `stop`."""
        try:
            while not self._stopped.is_set():
                try:
                    pause = self._turn()
                    self._recovered()
                    if pause:
                        self._waker.wait(pause)
                except Exception as error:  # noqa: BLE001  whatever it is: the relay goes on, and nobody else suffers
                    self._failed(error)
                    self._stopped.wait(self._faults.next())
        finally:
            self.end()

    def once(self, within: float = 0.0) -> bool:
        """Relay until nothing waits any more; False where something still does after so many seconds of trying, or
        where another relay holds the lease. May raise DatabaseError."""
        until = self._clock() + within
        try:
            while True:
                pause = self._turn()
                if not pause:
                    continue
                if self._source_is_known and self._lease.held and not waits(self.using):
                    return True
                if self._clock() + pause > until or self._stopped.is_set():
                    return False
                self._stopped.wait(pause)
        finally:
            self.end()

    # Turns

    def _turn(self) -> float:
        """Do what there is to do; returns after how many seconds to look again, 0: at once."""
        if not self._can_relay():
            return LOOK_AGAIN
        if not self._lease.held or self._lease.due:
            held_before = self._lease.held
            if left := self._lease.take():
                self._not_ours()
                return min(left, STANDBY)
            if not held_before:
                self._begin()
        self._waker.listen(WAKE)
        self._keep_house()
        try:
            busy = self._round()
        except LeaseLost:
            logger.warning("database %s: another relay has taken over", self.using)
            self._not_ours()
            return STANDBY
        return 0.0 if busy else self._pause()

    def _can_relay(self) -> bool:
        """Whether the database has an outbox, and takes writes: it may be migrated, or promoted, at any time."""
        if not self._is_there:
            why_not = why_not_relayed(self.using)
            self._is_there = not why_not
            if why_not and self._news.news(why_not):
                logger.info("database %s: %s", self.using, why_not)
        return self._is_there

    def _begin(self) -> None:
        """The lease is ours from now on: what was known may have changed meanwhile."""
        logger.info("database %s: this process relays its outbox", self.using)
        self._forget()
        self.stats.holds = True

    def _not_ours(self) -> None:
        self._lease.lose()
        self.stats.holds = False
        self._waker.listen(FREED)

    def _forget(self) -> None:
        self._sender.forget()
        self._held.clear()
        self._away.clear()
        self._known.clear()
        self._source_is_known = False
        self._next_look = 0.0

    def _pause(self) -> float:
        now = self._clock()
        lively = now < self._last_sent + LATELY or self._held or self._away
        pause = LIVELY if lively else IDLE
        if self._walk.under_way:
            pause = min(pause, WALK_EVERY)
        soonest = min((one.until - now for one in (*self._held.values(), *self._away.values())), default=pause)
        return max(0.01, min(pause, soonest))

    def _round(self) -> bool:
        """Send a batch; False when there is none that can be sent now."""
        if not self._know_source() or self._all_away():
            return False
        began = self._clock()
        rows = read(self.using, self._is_held, any_held=bool(self._held or self._away))
        if not rows:
            self._release(began)
            return False
        self._tell_redis(max(row.position for row in rows))
        outcomes = self._sender.send(rows)
        done = [one for one in outcomes if one.fate in (Fate.SENT, Fate.REPEAT)]
        refused = [one for one in outcomes if one.fate is Fate.REFUSED]
        with transaction.atomic(using=self.using):
            self._lease.keep()
            note_sent(self.using, [Sent(one.row.id, one.epoch, one.offset) for one in done])
            for one in refused:
                note_failed(self.using, one.row, one.error, set_aside=_is_last(one.row))
        self._count(done)
        for one in refused:
            self._refuse(one)
        away = [one for one in outcomes if one.fate is Fate.AWAY]
        for index, error in {self._sender.shard_of(one.row.channel).index: one.error for one in away}.items():
            self._hold_away(index, error)
        for one in outcomes:
            if one.fate is Fate.BEHIND:
                self._reopen(one.row.channel, one.epoch, one.last)
        return True

    # Rows

    def _count(self, done: Iterable[Outcome]) -> None:
        now = timezone.now()
        for one in done:
            self._held.pop(one.row.channel, None)
            if one.fate is Fate.REPEAT:
                self.stats.repeats += 1
            elif one.row.epoch:
                self.stats.resent += 1
            else:
                self.stats.sent += 1
                self.stats.lag.observe(max(0.0, (now - one.row.written_at).total_seconds()))
            self._last_sent = self._clock()
            index = self._sender.shard_of(one.row.channel).index
            if index in self._away:
                del self._away[index]
                logger.warning("database %s: Redis %d takes rows of the outbox again", self.using, index)

    def _refuse(self, outcome: Outcome) -> None:
        """A row cannot be sent as it is: its channel waits for it, until it is set aside."""
        row = outcome.row
        if _is_last(row):
            self.stats.set_aside += 1
            self._held.pop(row.channel, None)
            logger.error(SET_ASIDE, row.channel, row.id, row.attempts + 1, outcome.error)
            return
        if row.channel not in self._held and len(self._held) >= MAX_HELD:
            del self._held[next(iter(self._held))]
        held = self._held.setdefault(row.channel, _Held(Backoff(first=0.5, longest=30.0, failures=row.attempts)))
        held.pause(self._clock())

    def _hold_away(self, index: int, error: str) -> None:
        """A Redis that did not take rows is tried again after a pause."""
        if index not in self._away:
            logger.warning("database %s: the outbox waits for Redis %d: %s", self.using, index, error)
            self._away[index] = _Held(Backoff(first=0.1, longest=1.0))
            self._known.pop(index, None)
        self._away[index].pause(self._clock())
        self.stats.faults += 1
        self._tell_away()

    def _tell_away(self) -> None:
        self.stats.waits_for = f"Redis {min(self._away)}" if self._away else ""

    def _release(self, now: float) -> None:
        """No row that may be sent now waits: nothing is held up any more but what was still pausing then."""
        self._held = {channel: one for channel, one in self._held.items() if one.until > now}
        self._away = {index: one for index, one in self._away.items() if one.until > now}
        self._tell_away()

    def _is_away(self, channel: str) -> bool:
        """Whether a channel's Redis is; a walk begins when it is back."""
        return self._sender.shard_of(channel).index in self._away

    def _is_held(self, channel: str) -> bool:
        now = self._clock()
        held = self._held.get(channel)
        away = self._away.get(self._sender.shard_of(channel).index)
        return (held is not None and held.until > now) or (away is not None and away.until > now)

    def _all_away(self) -> bool:
        now = self._clock()
        return len(self._away) == len(self._store.shards) and all(one.until > now for one in self._away.values())

    def _reopen(self, channel: str, epoch: str, last: int) -> None:
        """What a channel's stream has lost waits again. Where nothing is lost, rows go on behind what is there."""
        lost = 0
        while page := keep.reopen(self.using, channel, self._sender.source, epoch, last):
            lost += page
            if self._lease.due and self._lease.take():
                raise LeaseLost
            if self._stopped.is_set():
                break
        self._sender.forget(channel)
        if lost:
            logger.warning("channel %s: Redis has lost %d rows of the outbox: they are sent again", channel, lost)
        else:
            self._sender.remember(channel, last, generation_of(epoch))

    # The source, and what is done beside

    def _know_source(self) -> bool:
        """Whether it is known whose positions these are, which Redis is asked once."""
        if not self._source_is_known:
            try:
                self._sender.source = source.current(self.using, self._store.first)
            except StoreUnavailable as error:
                self._hold_away(self._store.first.index, str(error))
                return False
            self._source_is_known, self._highest = True, 0
            self._away.pop(self._store.first.index, None)
            self._tell_away()
        return True

    def _tell_redis(self, position: int) -> None:
        """Redis knows how far this source was, before it gets there."""
        self._highest = max(self._highest, position)
        first = self._store.first
        away = self._away.get(first.index)
        if away is not None and away.until > self._clock():
            return
        try:
            source.note(self._sender.source, first, self._lease.batches + 1, self._highest)
        except StoreUnavailable as error:  # rows of other Redises go on; a restored database is noticed later
            logger.debug("how far the outbox is could not be told: %s", error)

    def _keep_house(self) -> None:
        now = self._clock()
        if now >= self._next_delete:
            full = keep.delete_old(self.using, get_config().outbox_keep) == keep.PAGE
            self._next_delete = now if full else now + DELETE_EVERY
        if not self._source_is_known:
            return
        if now >= self._next_look:
            self._next_look = now + LOOK_AT_REDIS_EVERY
            self._look_at_redis()
        if self._walk.under_way and now >= self._next_step:
            self._next_step = now + WALK_EVERY
            self._step()

    def _look_at_redis(self) -> None:
        """A partition that has another generation has lost its streams."""
        there = [shard for shard in self._store.shards if shard.index not in self._away]
        for shard, found in zip(there, together(partial(_generations, shard) for shard in there), strict=True):
            if found is not None and found != self._known.get(shard.index):
                self._known[shard.index] = found
                self._walk.begin()

    def _step(self) -> None:
        try:
            lost = self._walk.step(self._sender.source, self._is_away)
        except StoreUnavailable:  # a Redis is away: these channels are looked at again, when others had their turn
            self._next_step = self._clock() + LOOK_AT_REDIS_EVERY
            return
        for channel, epoch, last in lost:
            self._reopen(channel, epoch, last)

    # Faults

    def _failed(self, error: Exception) -> None:
        known = isinstance(error, DatabaseError | InterfaceError | StoreUnavailable | OSError)
        self.stats.faults += 1
        self.stats.holds = False
        self.stats.waits_for = "the database"
        if self._news.news(str(error) if known else repr(error)):
            logger.warning("database %s: its outbox is not relayed for now: %s", self.using, error, exc_info=not known)
        self._lease.lose()
        self._sender.forget()
        self._is_there = False
        connections[self.using].close()

    def _recovered(self) -> None:
        if self._faults.failures:
            self._faults.reset()
            self.stats.waits_for = ""

    def end(self) -> None:
        """Give the lease back, and leave the database."""
        self.stats.holds = False
        try:
            self._lease.let_go()
        except (DatabaseError, InterfaceError) as error:
            logger.info("database %s: the lease of its outbox runs out by itself: %s", self.using, error)
        finally:
            connections[self.using].close()
            self._waker.close()


def _is_last(row: Row) -> bool:
    """Whether a row is not tried again, if it fails now."""
    return row.attempts + 1 >= get_config().outbox_attempts


def _generations(shard: Shard) -> tuple[Any, ...] | None:
    """Those of all partitions of a Redis; None while it has none, or is away."""
    partitions = shard.partitions
    if partitions is None:
        return None
    try:
        answers = shard.batch_sync(partitions.looks(), waits=False)
        if any(answer[0] is None for answer in answers):
            shard.compare_sync()
            answers = shard.batch_sync(partitions.looks(), waits=False)
    except StoreUnavailable:  # who sends there says so
        return None
    return tuple(answer[0] for answer in answers)
