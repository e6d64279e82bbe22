"""Relays of several databases, one that has no outbox yet, one that goes away and comes back, and what wakes them."""

import asyncio
import time
from typing import Any

import psycopg
import pytest

from flotilla import abroadcast, apublish
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox import relay as relays_module
from flotilla.realtime.outbox.backlog import has_outbox
from flotilla.realtime.outbox.relay import IDLE, Relay
from flotilla.realtime.outbox.relays import Relays
from flotilla.realtime.outbox.stats import relay_stats, stats_of
from flotilla.store import Store
from tests.host.support.postgres import Postgres
from tests.realtime.outbox.databases import Threads, execute, rows
from tests.realtime.outbox.relaying import Running, put, stream, until

pytestmark = pytest.mark.usefixtures("channels")


def test_every_database_has_a_relay(on_postgresql: str, on_sqlite: str, a_store: Store) -> None:
    """One that has no outbox waits for it, and the others go on."""
    put(on_postgresql, "kept:1", 1)
    put(on_sqlite, "kept:2", 1)
    relays = Relays(a_store)
    relays.start([on_postgresql, on_sqlite])
    try:
        until(lambda: stats_of(on_postgresql).sent == stats_of(on_sqlite).sent == 1)
        assert all(stats_of(alias).holds for alias in (on_postgresql, on_sqlite))
        put(on_sqlite, "kept:2", 2)  # its commit is told in this process
        until(lambda: stats_of(on_sqlite).sent == 2)
    finally:
        relays.close(10.0)
    assert not relay_stats()
    assert (stream(a_store, "kept:1"), stream(a_store, "kept:2")) == ([1], [1, 2])


def test_a_database_without_an_outbox_is_looked_at_again(
    database: str, a_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is at fault, and it begins when the table is there."""
    monkeypatch.setattr(relays_module, "LOOK_AGAIN", 0.05)
    execute(database, "ALTER TABLE flotilla_outbox RENAME TO flotilla_outbox_away")
    assert not has_outbox(database)
    with Running(database, a_store) as relay:
        until(lambda: relay._news._last, "it has looked")
        assert not stats_of(database).holds
        assert not stats_of(database).faults
        execute(database, "ALTER TABLE flotilla_outbox_away RENAME TO flotilla_outbox")
        put(database, "kept:1", 1)
        until(lambda: stats_of(database).sent == 1)


def test_a_replica_is_not_relayed_until_it_is_promoted(
    on_postgresql: str, a_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the table, as the primary has, and nothing is at fault."""
    monkeypatch.setattr(relays_module, "LOOK_AGAIN", 0.05)
    put(on_postgresql, "kept:1", 1)
    execute(on_postgresql, "ALTER ROLE bazaar SET default_transaction_read_only = on")
    try:
        with Running(on_postgresql, a_store) as relay:
            until(lambda: relay._news._last)
            assert not stats_of(on_postgresql).faults
            execute(on_postgresql, "ALTER ROLE bazaar RESET default_transaction_read_only")
            execute(on_postgresql, _END_OTHERS)
            until(lambda: stats_of(on_postgresql).sent == 1)
    finally:
        execute(on_postgresql, "ALTER ROLE bazaar RESET default_transaction_read_only")


def test_coroutines_write_again_after_the_database_was_away(on_postgresql: str) -> None:
    """As those of a consumer, around which no request ends connections."""
    for number in range(2):
        asyncio.run(apublish("kept:1", number, durable=True, using=on_postgresql))
        execute(on_postgresql, _END_OTHERS)
        asyncio.run(abroadcast(["kept:1"], number, durable=True, using=on_postgresql))
        execute(on_postgresql, _END_OTHERS)
    assert len(rows(on_postgresql)) == 4


def test_a_database_that_goes_away_is_waited_for(on_postgresql: str, postgres_server: Postgres, a_store: Store) -> None:
    """Its connections end, and nobody is let in for a while."""
    address = f"host=127.0.0.1 port={postgres_server.port} user=bazaar dbname=template1"
    put(on_postgresql, "kept:1", 1)
    with Running(on_postgresql, a_store):
        until(lambda: stats_of(on_postgresql).sent == 1)
        put(on_postgresql, "kept:1", 2)
        relays_module.connections[on_postgresql].close()
        with psycopg.connect(address, autocommit=True) as beside:
            beside.execute("ALTER DATABASE bazaar ALLOW_CONNECTIONS false")
            try:
                beside.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'bazaar'")
                until(lambda: stats_of(on_postgresql).waits_for == "the database")
            finally:
                beside.execute("ALTER DATABASE bazaar ALLOW_CONNECTIONS true")
        put(on_postgresql, "kept:1", 3)
        stats = stats_of(on_postgresql)
        until(lambda: stats.sent + stats.repeats == 3)  # the second may have been sent, and not noted any more
        until(lambda: stats.waits_for == "")
    assert stream(a_store, "kept:1") == [1, 2, 3]


def test_postgresql_wakes_a_relay_of_another_process(on_postgresql: str, a_store: Store) -> None:
    """What is committed in SQL is sent before the relay would have looked by itself."""
    with Running(on_postgresql, a_store) as relay:
        until(lambda: stats_of(on_postgresql).holds)
        looks: list[float] = []
        wait = relay._waker.wait

        def wait_long(_: float) -> None:
            looks.append(time.monotonic())
            wait(60.0)

        relay._waker.wait = wait_long  # type: ignore[method-assign]
        until(lambda: looks)
        for number in range(3):
            insert = "INSERT INTO flotilla_outbox (channel, body) VALUES ('kept:1', %s)"
            execute(on_postgresql, insert, b'{"data":%d}' % number)
            until(lambda number=number: stats_of(on_postgresql).sent == number + 1)
    assert stream(a_store, "kept:1") == [0, 1, 2]


def test_an_idle_relay_rests(on_sqlite: str, a_store: Store) -> None:
    """Between two looks, as long as nothing is told in this process."""
    relay = Relay(on_sqlite, a_store)
    try:
        assert relay.once()
        until(lambda: relay._turn() and not relay._walk.under_way)
        assert relay._pause() == IDLE
    finally:
        relay.end()


def test_rows_of_many_writers_are_sent_in_the_order_of_commits(on_postgresql: str, a_store: Store) -> None:
    """While the relay runs beside them."""
    with Running(on_postgresql, a_store), Threads(on_postgresql, 8) as threads:
        done = [threads.run(_write, on_postgresql, number) for number in range(8)]
        for one in done:
            one.result()
        until(lambda: not OutboxRow.objects.using(on_postgresql).filter(sent_at=None).exists())
    for channel in ("kept:1", "kept:2"):
        rows = OutboxRow.objects.using(on_postgresql).filter(channel=channel).order_by("position")
        assert stream(a_store, channel) == [int(bytes(row.body or b"")[8:-1]) for row in rows]


def _write(using: str, writer: int) -> Any:
    for number in range(60):
        put(using, f"kept:{1 + number % 2}", writer * 1000 + number)


_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bazaar' AND pid <> pg_backend_pid()"
)
