"""Rows that were sent stay for a while, and are sent again where Redis has lost them; then they are deleted.

A row is lost when its stream's generation is over (`store/partitions.py`), or when its stream is still the same and
ends before it. A stream that has expired by its own settings is no loss. What is lost waits again, before all that is
newer. `Walk` looks through the channels that have kept rows, a few at a time, so that nothing new has to be published
for a loss to be noticed.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db import connections, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.sender import generation_of
from flotilla.realtime.outbox.source import Source
from flotilla.store import Placement, Store, placement_of, reading

PAGE = 2000  # rows in one statement
CHANNELS = 200  # of a walk's step
_TABLE = OutboxRow._meta.db_table


def reopen(using: str, channel: str, source: Source, epoch: str, last: int) -> int:
    """Have a page of those rows of a channel that were lost wait again; returns how many. `epoch`: of its stream, or
    the generation alone; `last`: the last row that is there.

    Call it until there is none, before anything is sent there. It begins with the newest: if it is not called to the
    end, the row before the first one that waits is a lost one, which whoever goes on will notice.
    """
    lost = ~Q(epoch__startswith=f"{generation_of(epoch)}.")
    if "." in epoch:
        lost |= Q(epoch=epoch, position__gt=max(last, source.since))
    rows = OutboxRow.objects.using(using).filter(lost, channel=channel, sent_at__isnull=False).exclude(epoch="")
    page = list(rows.order_by("-position").values_list("id", flat=True)[:PAGE])
    return OutboxRow.objects.using(using).filter(pk__in=page).update(sent_at=None, attempts=0)


def delete_old(using: str, seconds: float) -> int:
    """Delete a page of the rows that were sent longer ago; returns how many."""
    rows = OutboxRow.objects.using(using)
    # the clock that noted it (`waiting.note_sent`): MySQL's own is in the time zone of its session
    now = Now() if connections[using].vendor == "postgresql" else timezone.now()
    until = now - timedelta(seconds=seconds)
    old = rows.filter(sent_at__lt=until).order_by("sent_at").values_list("id", flat=True)
    skipping = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        page = list((old.select_for_update(skip_locked=True) if skipping else old)[:PAGE])
        # past Django's collector, which loads whole rows where a project has receivers for all models
        return rows.filter(pk__in=page)._raw_delete(using) if page else 0


class Walk:
    """Looks through all channels that have kept rows, once after each `begin`."""

    def __init__(self, using: str, store: Store) -> None:
        self.under_way = False
        self._using = using
        self._store = store
        self._behind = ""  # the last channel that was looked at

    def begin(self) -> None:
        """Look through all of them, from the first on."""
        self.under_way, self._behind = True, ""

    def step(self, source: Source, passed: Callable[[str], bool]) -> list[tuple[str, str, int]]:
        """Look at some more channels, but for those that are `passed`: those that have lost rows, each with what its
        stream has, as for `reopen`. May raise StoreUnavailable; they are looked at again then."""
        channels = _next_channels(self._using, self._behind)
        looked_at = [last for channel, last in channels if last is not None and not passed(channel)]
        lost = self._lost(_rows(self._using, looked_at), source)
        if channels:
            self._behind = channels[-1][0]
        self.under_way = len(channels) == CHANNELS
        return lost

    def _lost(self, sent: Sequence[tuple[str, int, str]], source: Source) -> list[tuple[str, str, int]]:
        commands: list[tuple[Placement, tuple[str, ...]]] = []
        for channel, _, _ in sent:
            placement = placement_of(channel)
            commands.append((placement, ("HGET", placement.partition_key("partition"), "g")))
            commands.append((placement, ("HMGET", placement.key("meta"), "e", f"b:{source.name}")))
        answers = self._store.batch_sync(commands)
        found = []
        with reading("how far streams are"):
            for (channel, position, epoch), generation, stream in zip(sent, answers[::2], answers[1::2], strict=True):
                if generation is None:  # it is made by whoever needs it first, and then a walk begins
                    continue
                known = generation.decode()
                of_stream = (stream[0] or b"").decode()
                there = of_stream if generation_of(of_stream) == known else known
                last = int(stream[1] or 0) if there == of_stream else 0
                gone = generation_of(epoch) != known
                if gone or (epoch == there and position > max(last, source.since)):
                    found.append((channel, there, last))
        return found


def _next_channels(using: str, behind: str) -> list[tuple[str, int | None]]:
    """The next channels that have rows, in order, each with the id of its last row that was sent into a stream: some
    steps along the index for each."""
    first = f"SELECT MIN(channel) FROM {_TABLE} WHERE channel >"
    last = (
        f"SELECT id FROM {_TABLE} WHERE channel = walked.channel AND sent_at IS NOT NULL AND epoch <> ''"
        " ORDER BY position DESC LIMIT 1"
    )
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE walked(channel, number) AS (SELECT ({first} %s), 1"
            f" UNION ALL SELECT ({first} walked.channel), number + 1 FROM walked"
            f" WHERE walked.channel IS NOT NULL AND number < {CHANNELS})"
            f" SELECT channel, ({last}) FROM walked WHERE channel IS NOT NULL ORDER BY number",
            [behind],
        )
        return list(cursor.fetchall())


def _rows(using: str, ids: Sequence[int]) -> list[tuple[str, int, str]]:
    """Channel, position and epoch of rows."""
    rows = OutboxRow.objects.using(using).filter(pk__in=ids)
    return [
        (channel, position or 0, epoch) for channel, position, epoch in rows.values_list("channel", "position", "epoch")
    ]
