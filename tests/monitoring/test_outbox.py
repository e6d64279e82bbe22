"""What waits in the outbox is told by every instance, whether or not it relays; and what its own relay has done."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flotilla.monitoring import outbox as module
from flotilla.monitoring.metrics import NodeCollector
from flotilla.monitoring.outbox import TOLD_FOR, OutboxWatch
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox import stats
from flotilla.realtime.outbox.backlog import rows_set_aside, waiting_rows
from flotilla.realtime.outbox.rows import write
from flotilla.realtime.outbox.stats import stats_of
from tests.realtime.outbox.conftest import database, on_postgresql, on_sqlite, postgres_server
from tests.realtime.outbox.databases import execute
from tests.store.redis_process import until

__all__ = ["database", "on_postgresql", "on_sqlite", "postgres_server"]


@pytest.fixture
def now() -> list[float]:
    """The watch's clock."""
    return [1000.0]


@pytest.fixture
def watch(now: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[OutboxWatch]:
    """In place of the process's own."""
    made = OutboxWatch(lambda: now[0])
    monkeypatch.setattr(module, "outbox_watch", made)
    monkeypatch.setattr(stats, "_stats", {})
    yield made


def scraped() -> dict[tuple[str, ...], float]:
    """The samples of the outbox, by name and the values of their labels."""
    registry = CollectorRegistry()
    registry.register(NodeCollector())
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found = [sample for family in families for sample in family.samples if "_outbox_" in sample.name]
    return {(one.name.removeprefix("flotilla_outbox_"), *one.labels.values()): one.value for one in found}


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The databases that are looked at."""
    monkeypatch.setattr(module, "databases", lambda: list(names))


def test_it_is_told_without_a_relay(database: str, watch: OutboxWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, database)
    assert scraped() == {}  # nobody has looked
    for number in range(3):
        write(f"chat:{number}", b"{}", {}, using=database)
    first = waiting_rows(database)[0]
    OutboxRow.objects.using(database).filter(pk=first.pk).update(failed_at=Now())
    watch.look()
    told = scraped()
    assert told["waiting", database] == 2
    assert told["set_aside", database] == 1
    assert 0 <= told["oldest_seconds", database] < 60
    assert told["relay", database] == 0
    assert {key[2]: value for key, value in told.items() if key[0] == "rows_total"} == dict.fromkeys(
        ("sent", "repeated", "resent", "set_aside"), 0
    )
    assert told["lag_seconds_count", database] == 0
    waiting_rows(database).update(sent_at=Now())
    rows_set_aside(database).delete()
    watch.look()
    assert [scraped()[name, database] for name in ("waiting", "oldest_seconds", "set_aside")] == [0, 0, 0]


def test_what_nobody_looked_up_for_a_while_is_not_told(
    on_sqlite: str, watch: OutboxWatch, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that hangs, or that is away, has no figures."""
    only(monkeypatch, on_sqlite)
    watch.look()
    now[0] += TOLD_FOR - 1
    assert ("waiting", on_sqlite) in scraped()
    now[0] += 1
    assert scraped() == {}


def test_what_the_relay_did_is_told(watch: OutboxWatch) -> None:
    """Also while the database does not answer."""
    relay = stats_of("default")
    relay.holds = True
    relay.sent, relay.repeats, relay.resent, relay.set_aside = 10, 3, 4, 1
    relay.lag.observe(0.02, 10)
    told = scraped()
    assert told["relay", "default"] == 1
    assert [told["rows_total", "default", result] for result in ("sent", "repeated", "resent", "set_aside")] == [
        10,
        3,
        4,
        1,
    ]
    assert (told["lag_seconds_bucket", "default", "0.01"], told["lag_seconds_bucket", "default", "0.025"]) == (0, 10)
    assert ("waiting", "default") not in told


def test_a_database_without_an_outbox_has_no_figures_and_that_is_no_fault(
    on_sqlite: str, watch: OutboxWatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is migrated."""
    only(monkeypatch, on_sqlite)
    execute(on_sqlite, "ALTER TABLE flotilla_outbox RENAME TO elsewhere")
    watch.look()
    assert scraped() == {} and not caplog.records
    execute(on_sqlite, "ALTER TABLE elsewhere RENAME TO flotilla_outbox")
    watch.look()
    assert ("waiting", on_sqlite) in scraped()


def test_a_database_that_fails_is_said_once_and_harms_no_other(
    on_sqlite: str,
    on_postgresql: str,
    watch: OutboxWatch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its last figures are told until they are old."""
    only(monkeypatch, on_sqlite, on_postgresql)
    watch.look()
    execute(on_sqlite, "ALTER TABLE flotilla_outbox RENAME TO elsewhere")
    write("chat:a", b"{}", {}, using=on_postgresql)
    watch.look()
    watch.look()
    assert (scraped()["waiting", on_sqlite], scraped()["waiting", on_postgresql]) == (0, 1)
    (line,) = [one.getMessage() for one in caplog.records if one.name == "flotilla.monitoring.outbox"]
    assert f"the outbox of database {on_sqlite} cannot be looked at: no such table" in line


@pytest.mark.asyncio
async def test_it_looks_again_and_again_beside_the_loop_and_ends_while_a_database_hangs(
    watch: OutboxWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread that nobody waits for."""
    monkeypatch.setattr(module, "EVERY", 0.01)
    looks: list[str] = []
    hangs, goes_on = threading.Event(), threading.Event()

    def look() -> None:
        looks.append(threading.current_thread().name)
        if len(looks) == 3:
            hangs.set()
            goes_on.wait(60)

    monkeypatch.setattr(watch, "look", look)
    await watch.start()
    await until(hangs.is_set)
    try:
        await asyncio.wait_for(watch.stop(), 30)
        assert looks == ["outbox-backlog"] * 3
    finally:
        goes_on.set()
        for thread in threading.enumerate():
            if thread.name == "outbox-backlog":
                await asyncio.to_thread(thread.join)


@pytest.mark.asyncio
async def test_a_fault_that_is_no_database_s_begins_it_again(
    watch: OutboxWatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of every task that others rely on."""
    monkeypatch.setattr(module, "EVERY", 0.01)
    looks: list[Any] = []

    def look() -> None:
        looks.append(None)
        if len(looks) == 1:
            raise KeyError("oops")

    monkeypatch.setattr(watch, "look", look)
    with caplog.at_level(logging.CRITICAL):
        await watch.start()
        await until(lambda: len(looks) > 2)
        await watch.stop()
