"""A batch of rows goes to Redis: to each one its channels' rows, in one round trip, to all of them at once; and what
became of each row.

Of a channel, a row is sent in one batch with those before it, and refused by Redis when the row before it is not there
(`after`, in `engine/lua/publish.lua`). So whatever fails, none overtakes another: behind the first row of a channel
that did not go, all wait.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, NamedTuple

from django.db.models import OuterRef, QuerySet, Subquery

from flotilla.realtime.conf import get_config
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.calls import Call, OutboxPlace, Placed
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.publications import Ready, Unsendable, ready
from flotilla.realtime.outbox.renderings import Renderings
from flotilla.realtime.outbox.source import Source
from flotilla.realtime.outbox.waiting import Row
from flotilla.store import Shard, Store, StoreRefused, StoreUnavailable, placement_of
from flotilla.store.together import together

REMEMBERED = 10_000  # channels whose last row is known here; that of others is looked up

OUTAGES = frozenset(
    (
        *("ASK", "BUSY", "CLUSTERDOWN", "DENIED", "DOUBT", "EXECABORT", "IOERR", "LOADING", "MASTERDOWN", "MISCONF"),
        *("MOVED", "NOAUTH", "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "UNKILLABLE"),
        "WRONGPASS",
    )
)
"""Error replies that say nothing about the row, but that Redis cannot do anything of the kind now."""
PREPARED_WITHIN = 2.0
"""Seconds in which rows are made ready, for which some ask the database; later ones wait for the next batch. It must
be noted while the lease lasts (`lease.TTL`): else another relay begins with the same rows, again and again."""


class Fate(Enum):
    """What became of a row."""

    SENT = auto()
    REPEAT = auto()  # it was there
    BEHIND = auto()  # not sent: the row before it is not there any more
    REFUSED = auto()  # not sent, because of what it is
    AWAY = auto()  # not sent: its Redis is away
    LATER = auto()  # not sent: a row before it was not


@dataclass(slots=True)
class Outcome:
    """Of one row. `epoch` and `offset`: where it is; with BEHIND `epoch` is the stream's, and `last` the position of
    the last row that is there."""

    row: Row
    fate: Fate = Fate.LATER
    epoch: str = ""
    offset: int = 0
    last: int = 0
    error: str = ""


class Last(NamedTuple):
    """The last row of a channel that is in its stream: its position (0: nothing is known), and that generation."""

    position: int
    generation: str


@dataclass(slots=True)
class _Chain:
    """A channel's rows in this batch. `ends`: no more are sent in it."""

    kept: bool
    last: Last
    ends: bool = False


class Sender:
    """Sends batches of one database's rows. `source` is set by whoever holds the lease."""

    def __init__(self, using: str, store: Store, broker: Broker) -> None:
        self.source = Source("", 0)
        self._using = using
        self._store = store
        self._broker = broker
        self._last: OrderedDict[str, Last] = OrderedDict()

    def forget(self, channel: str | None = None) -> None:
        """Look up anew what was sent last: in one channel, or in all."""
        if channel is None:
            self._last.clear()
        else:
            self._last.pop(channel, None)

    def remember(self, channel: str, position: int, generation: str) -> None:
        """This is the last row that is in a channel's stream; what came before it is not missed."""
        self._last[channel] = Last(position, generation)
        self._last.move_to_end(channel)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def shard_of(self, channel: str) -> Shard:
        """The Redis in which a channel lives."""
        return self._store.shard_for(placement_of(channel))

    def send(self, rows: Sequence[Row]) -> list[Outcome]:
        """Send rows, of each channel the first that wait; what became of each, in their order."""
        outcomes = [Outcome(row) for row in rows]
        packed: dict[int, list[tuple[Outcome, Call]]] = {}
        for outcome, call in self._calls(outcomes):
            packed.setdefault(self._store.shard_for(call.placement).index, []).append((outcome, call))
        together(partial(self._send_to, self._store.shards[index], batch) for index, batch in packed.items())
        _hold_back(outcomes)
        for outcome in outcomes:
            if outcome.fate in (Fate.SENT, Fate.REPEAT) and outcome.epoch:
                self.remember(outcome.row.channel, outcome.row.position, generation_of(outcome.epoch))
        return outcomes

    def _calls(self, outcomes: Sequence[Outcome]) -> Iterable[tuple[Outcome, Call]]:
        """The calls that can be made; what is wrong with a row is noted in its outcome."""
        made: list[tuple[Outcome, Ready]] = []
        stopped: set[str] = set()
        renderings = Renderings([outcome.row for outcome in outcomes], self._using)
        config, until = get_config(), time.monotonic() + PREPARED_WITHIN
        for outcome in outcomes:
            if made and time.monotonic() > until:
                break
            if outcome.row.channel in stopped:
                continue
            try:
                made.append((outcome, ready(outcome.row, config, renderings)))
            except Unsendable as error:
                outcome.fate, outcome.error = Fate.REFUSED, str(error)
                stopped.add(outcome.row.channel)
        self._look_up([one for _, one in made])
        chains: dict[str, _Chain] = {}
        for outcome, one in made:
            if (place := self._place(chains, one)) is not None:
                yield outcome, calls.publish_row(one.row.channel, one.body, one.options, place, **one.keywords)

    def _place(self, chains: dict[str, _Chain], one: Ready) -> OutboxPlace | None:
        """A row's place behind those before it; None where it has to wait for another batch."""
        channel, position = one.row.channel, one.row.position
        chain = chains.get(channel)
        if chain is None:
            last = self._last.get(channel, Last(0, "")) if one.kept else Last(0, "")
            chain = chains[channel] = _Chain(one.kept, last)
        if chain.kept != one.kept:  # what is kept and what is not do not know of each other
            chain.ends = True
        if chain.ends:
            return None
        last, chain.last = chain.last, Last(position, "")
        return OutboxPlace(self.source.name, position, last.position, last.generation)

    def _look_up(self, batch: Iterable[Ready]) -> None:
        """Ask the database for the row before the first one, in channels of which it is not known here."""
        firsts: dict[str, int] = {}
        for one in batch:
            if one.kept and one.row.channel not in self._last:
                firsts.setdefault(one.row.channel, one.row.id)
        if not firsts:
            return
        before = (
            OutboxRow.objects.using(self._using)
            .filter(channel=OuterRef("channel"), position__lt=OuterRef("position"), sent_at__isnull=False)
            .exclude(epoch="")
            .order_by("-position")
        )
        asked: QuerySet[Any] = OutboxRow.objects.using(self._using).filter(pk__in=list(firsts.values()))
        found = asked.annotate(
            last=Subquery(before.values("position")[:1]), last_epoch=Subquery(before.values("epoch")[:1])
        )
        for channel, position, epoch in found.values_list("channel", "last", "last_epoch"):
            own = position or 0
            self.remember(channel, own if own > self.source.since else 0, generation_of(epoch or ""))

    def _send_to(self, shard: Shard, batch: Sequence[tuple[Outcome, Call]]) -> None:
        try:
            answers = self._broker.publish_rows_sync(shard, [(one.row.channel, call) for one, call in batch])
        except StoreUnavailable as error:
            for outcome, _ in batch:
                outcome.fate, outcome.error = Fate.AWAY, str(error)
            return
        for (outcome, _), answer in zip(batch, answers, strict=True):
            _settle(outcome, answer)


def generation_of(epoch: str) -> str:
    """The generation in which an epoch is."""
    return epoch.partition(".")[0]


def _settle(outcome: Outcome, answer: Placed | StoreRefused) -> None:
    if isinstance(answer, StoreRefused):
        outcome.fate = Fate.AWAY if answer.code in OUTAGES else Fate.REFUSED
        outcome.error = str(answer)
    elif answer.kind == calls.BEHIND:
        outcome.fate, outcome.epoch, outcome.last = Fate.BEHIND, answer.epoch, answer.position
    else:
        outcome.fate = Fate.REPEAT if answer.kind == calls.REPEAT else Fate.SENT
        outcome.epoch, outcome.offset = answer.epoch, answer.offset


def _hold_back(outcomes: Iterable[Outcome]) -> None:
    """Behind a channel's first row that did not go, the others only wait, whatever they were answered."""
    stopped: set[str] = set()
    for outcome in outcomes:
        if outcome.row.channel in stopped:
            outcome.fate = Fate.LATER
        elif outcome.fate not in (Fate.SENT, Fate.REPEAT):
            stopped.add(outcome.row.channel)
