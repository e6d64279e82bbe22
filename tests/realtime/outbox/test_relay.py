"""The relay of one database, on a real Redis: order, repeats, rows that cannot be sent, two relays at once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now
from django.db.models.signals import post_delete
from django.utils import timezone

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.conf import get_config
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.models import OutboxRelay, OutboxRow
from flotilla.realtime.outbox import keep, lease, renderers, waiting
from flotilla.realtime.outbox.rows import write
from flotilla.realtime.outbox.set_aside import drop, retry
from flotilla.realtime.outbox.stats import stats_of
from flotilla.store import Store
from tests.realtime.outbox.databases import execute, rows
from tests.realtime.outbox.relaying import Running, a_relay, put, relay_all, stream, until
from tests.realtime.outbox.writing import write_change

pytestmark = pytest.mark.usefixtures("channels")


def test_rows_are_sent_once_in_order_and_noted(database: str, a_store: Store) -> None:
    """In more than one batch, over several channels."""
    for number in range(40):
        put(database, f"kept:{number % 3}", number)
    with transaction.atomic(using=database):
        for number in range(40, 1240):
            write(f"kept:{number % 3}", b'{"data":%d}' % number, {}, using=database)
    relay_all(database, a_store)
    for one in range(3):
        assert stream(a_store, f"kept:{one}") == list(range(one, 1240, 3))
    found = rows(database)
    assert all(row.sent_at and row.epoch for row in found)
    of_first = [row.offset for row in found if row.channel == "kept:0"]
    assert of_first == list(range(1, len(of_first) + 1))
    assert stats_of(database).sent == 1240
    assert not stats_of(database).repeats
    relay_all(database, a_store)
    assert stats_of(database).sent == 1240


def test_what_was_sent_and_not_noted_is_not_sent_again(database: str, a_store: Store) -> None:
    """A relay is killed before it could note a batch."""
    put(database, "kept:1", 1, 2, 3)
    put(database, "plain:1", 1, 2, 3)
    relay_all(database, a_store)
    OutboxRow.objects.using(database).update(sent_at=None, epoch="", offset=0)
    put(database, "kept:1", 4)
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1, 2, 3, 4]
    assert (stats_of(database).repeats, stats_of(database).sent) == (6, 7)


def test_a_row_that_cannot_be_sent_holds_up_its_channel_alone_and_is_set_aside(database: str, a_store: Store) -> None:
    """Redis refuses it: its key has another type."""
    put(database, "kept:1", 1)
    relay_all(database, a_store)
    put(database, "gone:1", 1, 2)
    put(database, "kept:1", 2)
    with Running(database, a_store):
        until(lambda: stream(a_store, "kept:1") == [1, 2])
        until(lambda: OutboxRow.objects.using(database).filter(failed_at__isnull=False).count() == 2)
    first, second = rows(database, "gone:1")
    assert (first.attempts, second.attempts) == (3, 3)
    assert "unknown channel" in first.error
    assert first.failed_at is not None and second.failed_at is not None
    assert first.failed_at <= second.failed_at
    assert stats_of(database).set_aside == 2


def test_the_rows_behind_wait_until_it_is_set_aside(database: str, a_store: Store) -> None:
    """And go then, in order."""
    put(database, "kept:1", 1)
    with transaction.atomic(using=database):
        write("kept:1", b'{"data":2}', {"unknown": 1}, using=database)
    put(database, "kept:1", 3, 4)
    with a_relay(database, a_store) as relay:
        assert not relay.once()
    assert stream(a_store, "kept:1") == [1]
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1, 3, 4]


@pytest.mark.parametrize(
    "given",
    [
        {"body": b"x"},
        {"body": b"[1]"},
        {"body": b"{}"},
        {"body": b"\xff\x00"},
        {"body": b'{"data":1}}'},
        {"operation": "set", "key": "7", "body": b"x"},
        {"keywords": []},
        {"keywords": "x"},
        {"keywords": {"version": True}},
        {"keywords": {"version": -1}},
        {"keywords": {"version": 2**70}},
        {"keywords": {"trace": {"a": 1}}},
    ],
    ids=str,
)
def test_a_row_of_raw_sql_that_is_none_is_set_aside_and_holds_up_nobody(
    database: str, a_store: Store, given: dict[str, Any]
) -> None:
    """Neither its channel for long, nor any other at all."""
    OutboxRow.objects.using(database).bulk_create([OutboxRow(**{"channel": "kept:1", "body": b'{"data":1}', **given})])
    put(database, "kept:1", 2)
    put(database, "kept:2", 1)
    with a_relay(database, a_store) as relay:
        assert not relay.once()
    assert stream(a_store, "kept:2") == [1]
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [2]
    assert rows(database, "kept:1")[0].failed_at


def test_a_row_of_raw_sql_may_have_line_breaks(database: str, a_store: Store) -> None:
    """Of which a line of JSON has none. SQLite keeps the text as text."""
    body = '\n{"data":\n{"a": 1}}\n'
    value = {"postgresql": "convert_to(%s, 'UTF8')"}.get(connections[database].vendor, "%s")
    execute(database, f"INSERT INTO flotilla_outbox (channel, body) VALUES ('kept:1', {value})", body)
    relay_all(database, a_store)
    [kept] = Broker(a_store).history_sync("kept:1", options_for("kept:1", get_config()), limit=-1).publications
    assert kept.body == b'{"data": {"a": 1}}'


def test_a_row_that_is_refused_behind_one_that_was_sent_is_not_tried_again_at_once(
    database: str, a_store: Store
) -> None:
    """Its channel pauses, also when the batch had a row of it that went."""
    with transaction.atomic(using=database):
        write("kept:1", b'{"data":1}', {}, using=database)
        write("kept:1", b'{"data":2}', {"unknown": 1}, using=database)
    with a_relay(database, a_store) as relay:
        until(lambda: (relay._turn(), stats_of(database).sent == 1)[1])
        relay._turn()
        assert [row.attempts for row in rows(database)] == [0, 1]


def test_a_row_that_was_set_aside_is_tried_again_at_the_end_or_dropped(database: str, a_store: Store) -> None:
    """As the admin does."""
    with transaction.atomic(using=database):
        write("kept:1", b'{"data":1}', {"unknown": 1}, using=database)
        write("kept:1", b'{"data":2}', {"unknown": 1}, using=database)
    put(database, "kept:1", 3)
    relay_all(database, a_store)
    first, second, third = rows(database, "kept:1")
    assert drop([second.pk, third.pk], using=database) == 1
    OutboxRow.objects.using(database).filter(pk=first.pk).update(keywords={})
    assert retry([first.pk, third.pk], using=database) == 1
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [3, 1]


def test_changes_of_live_models_have_their_positions_as_versions(database: str, a_store: Store) -> None:
    """Data that the database's triggers did not have is rendered when it is sent."""
    with transaction.atomic(using=database):
        write_change("kept:b", "7", "set", live="app.Live", body=b'{"title":"a"}', using=database)
        write_change("kept:b", "8", "remove", live="app.Live", body=None, using=database)
        write_change("kept:b", "9", "set", live="app.Live", body=None, using=database)
        write_change("kept:b", "10", "set", live="app.Live", body=None, using=database)
    write_change("kept:b", "", "reload", live="app.Live", body=None, using=database)

    def render(
        live: str, places: Sequence[renderers.Place], using: str, above: int
    ) -> dict[renderers.Place, renderers.Rendering]:
        assert (live, using) == ("app.Live", database)
        assert places == [("kept:b", "9"), ("kept:b", "10")]  # together
        return {("kept:b", "9"): ("set", b'{"title":"late"}'), ("kept:b", "10"): ("remove", None)}

    before = list(renderers._render)
    renderers.use(render)
    try:
        relay_all(database, a_store)
    finally:
        renderers._render[:] = before
    first, *_ = positions = [row.position for row in rows(database, "kept:b")]
    assert positions == sorted(positions)
    assert stream(a_store, "kept:b") == [
        {"op": "set", "key": "7", "data": {"title": "a"}, "version": first},
        {"op": "remove", "key": "8", "version": positions[1]},
        {"op": "set", "key": "9", "data": {"title": "late"}, "version": positions[2]},
        {"op": "remove", "key": "10", "version": positions[3]},
        {"op": "reload", "version": positions[4]},
    ]


def test_two_relays_at_once_double_nothing_and_keep_the_order(database: str, a_store: Store) -> None:
    """One takes over while the other is still sending: the lease is stolen from it again and again."""
    with transaction.atomic(using=database):
        for number in range(1500):
            write("kept:1", b'{"data":%d}' % number, {}, using=database)
    with a_relay(database, a_store) as first, a_relay(database, a_store) as second:
        for _ in range(3):
            for one in (first, second):
                OutboxRelay.objects.using(database).update(until=Now() - timedelta(seconds=1))
                one._turn()
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == list(range(1500))


def test_a_relay_that_was_paused_between_sending_and_noting_notes_nothing(
    database: str, a_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one has sent and noted all of it meanwhile."""
    put(database, "kept:1", 1, 2, 3)
    with a_relay(database, a_store) as paused:
        send = paused._sender.send

        def send_and_pause(found: list[waiting.Row]) -> object:
            outcomes = send(found)
            OutboxRelay.objects.using(database).update(until=Now() - timedelta(seconds=1))
            relay_all(database, a_store)
            OutboxRow.objects.using(database).update(offset=99)
            return outcomes

        monkeypatch.setattr(paused._sender, "send", send_and_pause)
        assert paused._turn() > 0
        assert not paused._lease.held
    assert [row.offset for row in rows(database)] == [99, 99, 99]
    assert stream(a_store, "kept:1") == [1, 2, 3]


def test_a_second_relay_takes_over_at_once_after_an_orderly_end(database: str, a_store: Store) -> None:
    """And not before."""
    with Running(database, a_store) as first:
        until(lambda: OutboxRelay.objects.using(database).exclude(holder="").exists())
        with a_relay(database, a_store) as second:
            assert not second.once()
        assert first._lease.held
    put(database, "kept:1", 1)
    relay_all(database, a_store, within=0.0)
    assert stream(a_store, "kept:1") == [1]


def test_a_lease_from_before_the_clock_was_put_back_holds_up_nobody(database: str, a_store: Store) -> None:
    """Its relay was killed, and by the database's clock it would run for an hour."""
    put(database, "kept:1", 1)
    OutboxRelay.objects.using(database).create(
        pk=1, source="a", holder="killed", until=timezone.now() + timedelta(hours=1)
    )
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1]


def test_another_may_relay_ten_seconds_after_one_was_killed(database: str) -> None:
    """It asks again when the lease is over, and not before it can be."""
    until = Now() + timedelta(seconds=lease.TTL)
    OutboxRelay.objects.using(database).create(pk=1, source="a", holder="killed", until=until)
    other = lease.Lease(database, "other")
    assert 0 < other.take() <= lease.TTL + lease.LOOK_EVERY < 10
    assert not other.held
    OutboxRelay.objects.using(database).update(until=Now())
    assert other.take() == 0 and other.held


def test_old_rows_are_deleted_and_new_ones_go_on(
    database: str, a_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those that were sent, a page at a time."""
    monkeypatch.setattr(keep, "PAGE", 2)
    put(database, "kept:1", 1, 2, 3)
    relay_all(database, a_store)
    put(database, "kept:1", 4)
    OutboxRow.objects.using(database).filter(sent_at__isnull=False).update(sent_at=timezone.now() - timedelta(hours=2))
    relay_all(database, a_store)
    assert [bytes(row.body or b"") for row in rows(database)] == [b'{"data":4}']
    put(database, "kept:1", 5)
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1, 2, 3, 4, 5]


def test_what_was_sent_just_now_is_kept_wherever_the_database_is(database: str, a_store: Store) -> None:
    """MySQL's clock is in its own time zone, which may be hours ahead."""
    put(database, "kept:1", 1)
    relay_all(database, a_store)
    assert keep.delete_old(database, 3600.0) == 0
    assert keep.delete_old(database, 0.0) == 1


def test_old_rows_are_deleted_without_being_loaded(database: str, a_store: Store) -> None:
    """Also where a project has receivers for the deletion of any model, as those that keep a journal."""
    told: list[object] = []

    def journal(**given: object) -> None:
        told.append(given["instance"])

    put(database, "kept:1", 1)
    relay_all(database, a_store)
    post_delete.connect(journal)
    try:
        assert keep.delete_old(database, 0.0) == 1
    finally:
        post_delete.disconnect(journal)
    assert not told


def test_a_batch_is_bounded_in_bytes(database: str, a_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row may have more."""
    monkeypatch.setattr(waiting, "MAX_BYTES", 25)
    put(database, "kept:1", 1, 2, 3)
    with transaction.atomic(using=database):
        write("kept:1", b'{"data":"%s"}' % (b"x" * 50), {}, using=database)
    sizes = []
    while found := waiting.read(database, lambda _: False, any_held=False):
        sizes.append(len(found))
        waiting.note_sent(database, [waiting.Sent(row.id, "", 0) for row in found])
    assert sizes == [2, 1, 1]


def test_a_restored_database_gets_another_source(database: str, a_store: Store) -> None:
    """Its new rows have positions that Redis has seen: they are sent all the same, and no old one is doubled."""
    put(database, "kept:1", 1, 2)
    relay_all(database, a_store)
    saved = OutboxRelay.objects.using(database).get()
    put(database, "kept:1", 3, 4)
    relay_all(database, a_store)
    highest = max(row.position or 0 for row in rows(database))
    for number in (3, 4):
        OutboxRow.objects.using(database).filter(body=b'{"data":%d}' % number).delete()
        relay_all(database, a_store)
    _restore(database, saved, 2)
    put(database, "kept:1", 5)
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1, 2, 3, 4, 5]
    put(database, "kept:1", 6)
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1, 2, 3, 4, 5, 6]
    now = OutboxRelay.objects.using(database).get()
    assert now.source != saved.source
    assert (rows(database)[-1].position or 0) > highest


def _restore(using: str, saved: OutboxRelay, position: int) -> None:
    """The lease and the sequence are as they were."""
    saved.save(using=using)
    if connections[using].vendor == "postgresql":
        execute(using, f"SELECT setval('flotilla_outbox_position', {position})")
    else:
        execute(using, f"UPDATE sqlite_sequence SET seq = {position} WHERE name = 'flotilla_outbox'")
