"""The right to relay a database's outbox: one relay's at a time, by a row in that database and its clock.

Every batch is noted in one transaction that also keeps the lease. So a relay that was paused until another took over
notes nothing any more; what it still sends is refused by position (`engine/lua/publish.lua`).
"""

import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, connections, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from flotilla.realtime.models import OutboxRelay

TTL = 9.0  # seconds: with LOOK_EVERY, another takes over within 10 s
SLACK = 2  # a lease that ends later than so many TTLs from now was taken before the database's clock was put back
RENEW_EVERY = 3.0
LOOK_EVERY = 0.5  # seconds, at most, from the end of another's lease until it is noticed
FREED = "flotilla_outbox_lease"
"""What PostgreSQL notifies when a relay gives its lease back."""
_ONLY = 1  # the id of the row


class LeaseLost(Exception):
    """Another relay has taken over."""


class Lease:
    """One relay's view of it. Every method may raise DatabaseError; call them from one thread."""

    def __init__(self, using: str, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.holder = holder
        self.batches = 0
        """How many were noted in this database, by all relays so far, as of when the lease was taken or kept."""
        self._using = using
        self._clock = clock
        self._kept_at = 0.0
        self._held = False

    @property
    def held(self) -> bool:
        """Whether it is surely ours at this moment."""
        return self._held and self._clock() < self._kept_at + TTL - 1

    @property
    def due(self) -> bool:
        """Whether it is time to keep it."""
        return self._clock() >= self._kept_at + RENEW_EVERY

    def take(self) -> float:
        """Take or keep it: 0 when it is ours now, else after how many seconds to ask again."""
        asked = self._clock()
        row = self._row().values_list("holder", "until", "batches", Now()).first()
        if row is None:
            self._make()
            return self.take()
        holder, until, self.batches, now = row
        left = (until - now).total_seconds()
        if holder != self.holder and 0 < left <= SLACK * TTL:
            self._held = False
            return float(min(left, TTL)) + 0.05
        put_back = Q(until__gt=Now() + timedelta(seconds=SLACK * TTL))  # the clock was: nobody has it for so long
        free = Q(until__lte=Now()) | put_back | Q(holder=self.holder)
        self._held = bool(self._row().filter(free).update(holder=self.holder, until=_end()))
        self._kept_at = asked
        return 0.0 if self._held else LOOK_EVERY

    def keep(self) -> None:
        """Keep it, and hold it to the end of the current transaction, which notes a batch. Raises LeaseLost."""
        asked = self._clock()
        kept = self._row().filter(holder=self.holder).update(until=_end(), batches=F("batches") + 1)
        self._held = bool(kept)
        if not kept:
            raise LeaseLost
        self._kept_at = asked
        self.batches += 1

    def lose(self) -> None:
        """It may be another's by now: it has to be taken again."""
        self._held = False

    def let_go(self) -> None:
        """Give it back, so that another takes over at once."""
        if self._held:
            self._held = False
            with transaction.atomic(using=self._using):
                self._row().filter(holder=self.holder).update(until=Now(), holder="")
                if connections[self._using].vendor == "postgresql":
                    with connections[self._using].cursor() as cursor:
                        cursor.execute(f"NOTIFY {FREED}")

    def _row(self) -> QuerySet[OutboxRelay]:
        return OutboxRelay.objects.using(self._using).filter(pk=_ONLY)

    def _make(self) -> None:
        try:
            with transaction.atomic(using=self._using):
                OutboxRelay.objects.using(self._using).create(pk=_ONLY, source=new_source(), until=Now())
        except IntegrityError:  # another relay made it just now
            return


def new_source() -> str:
    """A name for positions that begin here."""
    return secrets.token_hex(5)


def _end() -> object:
    return Now() + timedelta(seconds=TTL)
