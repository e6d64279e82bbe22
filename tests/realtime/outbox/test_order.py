"""Positions of a channel are in the order in which transactions were committed, and callers do not wait for each other
in a circle, whatever order they publish in."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress

import psycopg
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction

from flotilla.realtime.outbox.order import LIE_DOWN, WAKE
from flotilla.realtime.outbox.rows import write, write_set
from tests.realtime.outbox.databases import Threads, Undone, execute, rolled_back, rows, said, until_somebody_waits
from tests.realtime.outbox.writing import write_change

WRITERS = 6
EACH = 40
CHANNELS = ("a", "b", "c")
WITHIN = 60.0  # seconds


@pytest.fixture
def slow_commits(on_postgresql: str) -> Iterator[None]:
    """A transaction that writes into `slow` takes a while to be committed, after its rows have positions."""
    execute(on_postgresql, "CREATE TABLE slow (id serial PRIMARY KEY, turns integer NOT NULL DEFAULT 0)")
    execute(
        on_postgresql,
        """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.turns < 3 THEN UPDATE slow SET turns = turns + 1 WHERE id = NEW.id;
            ELSE PERFORM pg_sleep(random() * 0.01); END IF;
            RETURN NULL; END $$""",
    )
    execute(
        on_postgresql,
        """CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON slow DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slow()""",
    )
    yield


class Observer:
    """Looks at the outbox all the time: what it sees for the first time must be behind all that it saw."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._seen: dict[str, int] = {}
        self._rows: set[tuple[str, int]] = set()
        self._end = threading.Event()
        self.late: list[str] = []
        self.looks = 0

    def watch(self) -> None:
        """Look until the end, and once more then."""
        while not self._end.is_set():
            self._look()
        self._look()

    def end(self) -> None:
        self._end.set()

    def _look(self) -> None:
        found = set(execute(self._alias, "SELECT channel, position FROM flotilla_outbox"))
        for channel, position in found - self._rows:
            if position <= self._seen.get(channel, 0):
                self.late.append(f"{position} of {channel} came after {self._seen[channel]}")
        for channel, position in found:
            self._seen[channel] = max(position, self._seen.get(channel, 0))
        self._rows = found
        self.looks += 1


def write_at_random(alias: str, name: int, slowly: Callable[[random.Random], None]) -> int:
    """Transactions with publications into channels in any order, a third of them rolled back. Gives how many rows."""
    dice = random.Random(name)
    kept = 0
    for number in range(EACH):
        channels = dice.choices(CHANNELS, k=dice.randint(1, 3))
        with suppress(Undone), transaction.atomic(using=alias):
            for channel in channels:
                write(channel, f"{name}:{number}".encode(), {}, using=alias)
                slowly(dice)
            if dice.random() < 0.33:
                raise Undone
            kept += len(channels)
    return kept


def all_of(futures: list[Future[int]]) -> int:
    return sum(future.result(WITHIN) for future in futures)


def test_positions_are_in_the_order_of_commits_on_postgresql(on_postgresql: str, slow_commits: None) -> None:
    def slowly(dice: random.Random) -> None:
        execute(on_postgresql, "SELECT pg_sleep(%s)", dice.random() * 0.004)
        execute(on_postgresql, "INSERT INTO slow DEFAULT VALUES")

    observed(on_postgresql, slowly)


def test_positions_are_in_the_order_of_commits_on_sqlite(on_sqlite: str) -> None:
    observed(on_sqlite, lambda dice: None)


def observed(alias: str, slowly: Callable[[random.Random], None]) -> None:
    observer = Observer(alias)
    with Threads(alias, WRITERS + 1) as threads:
        watching = threads.run(observer.watch)
        try:
            written = all_of([threads.run(write_at_random, alias, name, slowly) for name in range(WRITERS)])
        finally:
            observer.end()
        watching.result(WITHIN)
    assert observer.late == []
    assert observer.looks > 3
    found = rows(alias)
    assert len(found) == written > EACH
    assert len({row.position for row in found}) == written
    for name in range(WRITERS):  # and what one caller wrote is in the order in which it did
        for channel in CHANNELS:
            own = [row for row in rows(alias, channel) if bytes(row.body or b"").startswith(b"%d:" % name)]
            assert [row.pk for row in own] == sorted(row.pk for row in own)


def test_callers_that_cross_do_not_block_each_other(on_postgresql: str) -> None:
    meeting = threading.Barrier(2)

    def publish(first: str, second: str) -> None:
        for number in range(200):
            with transaction.atomic(using=on_postgresql):
                write(first, b"%d" % number, {}, using=on_postgresql)
                write(second, b"%d" % number, {}, using=on_postgresql)
                meeting.wait(WITHIN)

    with Threads(on_postgresql, 2) as threads:
        for done in [threads.run(publish, "x", "y"), threads.run(publish, "y", "x")]:
            done.result(WITHIN)
    assert len(rows(on_postgresql)) == 800


def test_deferred_constraints_come_before_the_locks(on_postgresql: str) -> None:
    """One transaction's commit waits for the other's row, which waits for the channel that both publish in."""
    execute(on_postgresql, "CREATE TABLE parent (id integer PRIMARY KEY)")
    execute(
        on_postgresql,
        "CREATE TABLE child (parent integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    )
    execute(on_postgresql, "INSERT INTO parent VALUES (1)")
    meeting = threading.Barrier(2)

    def refer() -> None:
        with transaction.atomic(using=on_postgresql):
            write("x", b"child", {}, using=on_postgresql)
            execute(on_postgresql, "INSERT INTO child VALUES (1)")
            meeting.wait(WITHIN)

    def hold() -> None:
        with transaction.atomic(using=on_postgresql):
            execute(on_postgresql, "SELECT 1 FROM parent FOR UPDATE")
            write("x", b"parent", {}, using=on_postgresql)
            meeting.wait(WITHIN)
            until_somebody_waits(on_postgresql)

    with Threads(on_postgresql, 2) as threads:
        for done in [threads.run(refer), threads.run(hold)]:
            done.result(WITHIN)
    assert said(on_postgresql) == [b"parent", b"child"]


def test_deferred_constraints_come_before_the_lock_of_a_change_that_ends_its_transaction(on_postgresql: str) -> None:
    execute(on_postgresql, "CREATE TABLE parent (id integer PRIMARY KEY)")
    execute(on_postgresql, "CREATE TABLE child (parent integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(IntegrityError), transaction.atomic(using=on_postgresql):
        execute(on_postgresql, "INSERT INTO child VALUES (1)")
        write_set("x", "1", live="app.L", body=b"{}", using=on_postgresql, ends=True)
        raise AssertionError("the constraint was not looked at")
    assert rows(on_postgresql) == []


def test_change_that_ends_its_transaction_takes_the_place_of_an_earlier_one(on_postgresql: str) -> None:
    with transaction.atomic(using=on_postgresql):
        write_change("x", "1", "set", live="app.L", body=None, using=on_postgresql)
        write_set("x", "1", live="app.L", body=b"{}", using=on_postgresql, ends=True)
    with transaction.atomic(using=on_postgresql):
        with rolled_back(on_postgresql):
            write("x", b"no", {}, using=on_postgresql)
        write_set("x", "2", live="app.L", body=b"[]", using=on_postgresql, ends=True)
        assert execute(on_postgresql, "SELECT count(*) FROM flotilla_outbox WHERE position IS NULL") == [(0,)]
    assert said(on_postgresql) == [b"{}", b"[]"]


def test_note_that_a_savepoint_took_back_is_made_again(on_postgresql: str) -> None:
    with transaction.atomic(using=on_postgresql):
        with rolled_back(on_postgresql):
            write("x", b"no", {}, using=on_postgresql)
        write("x", b"1", {}, using=on_postgresql)
    assert said(on_postgresql) == [b"1"]
    assert all(row.position for row in rows(on_postgresql))


def test_positions_may_be_given_early(on_postgresql: str) -> None:
    """With `SET CONSTRAINTS ALL IMMEDIATE`: others wait from then on."""
    with Threads(on_postgresql, 1) as threads:
        with transaction.atomic(using=on_postgresql):
            write("x", b"1", {}, using=on_postgresql)
            execute(on_postgresql, "SET CONSTRAINTS ALL IMMEDIATE")
            behind = threads.run(lambda: write("x", b"4", {}, using=on_postgresql))
            until_somebody_waits(on_postgresql)
            write("x", b"2", {}, using=on_postgresql)
            with rolled_back(on_postgresql):
                write("x", b"no", {}, using=on_postgresql)
            execute(on_postgresql, "SET CONSTRAINTS ALL DEFERRED")
            write("x", b"3", {}, using=on_postgresql)
        behind.result(WITHIN)
    assert said(on_postgresql) == [b"1", b"2", b"3", b"4"]
    assert execute(on_postgresql, "SELECT count(*) FROM flotilla_outbox_commit") == [(0,)]


def test_many_channels_take_few_locks(on_postgresql: str) -> None:
    def locks() -> int:
        return int(execute(on_postgresql, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0])

    with transaction.atomic(using=on_postgresql):
        for number in range(32):
            write(f"few:{number}", b"1", {}, using=on_postgresql)
        execute(on_postgresql, "SET CONSTRAINTS ALL IMMEDIATE")
        assert locks() == 34
    with Threads(on_postgresql, 1) as threads:
        with transaction.atomic(using=on_postgresql):
            for number in range(500):
                write(f"many:{number}", b"1", {}, using=on_postgresql)
            execute(on_postgresql, "SET CONSTRAINTS ALL IMMEDIATE")
            assert locks() == 2
            behind = threads.run(lambda: write("many:7", b"2", {}, using=on_postgresql))
            until_somebody_waits(on_postgresql)
        behind.result(WITHIN)
    assert said(on_postgresql, "many:7") == [b"1", b"2"]


def test_commit_notifies_and_rollback_does_not(on_postgresql: str) -> None:
    connection = connections[on_postgresql]
    given = connection.get_connection_params()
    wanted = {name: given[name] for name in ("dbname", "user", "host", "port")}
    with psycopg.connect(**wanted, autocommit=True) as listener:
        listener.execute(f"LISTEN {WAKE}")
        write("x", b"0", {}, using=on_postgresql)  # nobody sleeps
        (schema,) = execute(on_postgresql, "SELECT current_schema()")[0]
        listener.execute(f"SET search_path = {schema}")
        assert listener.execute(LIE_DOWN).fetchone() == (True,)
        with rolled_back(on_postgresql):
            write("x", b"1", {}, using=on_postgresql)
        with transaction.atomic(using=on_postgresql):
            write("x", b"2", {}, using=on_postgresql)
            write("y", b"3", {}, using=on_postgresql)
        listener.execute("LISTEN the_end")
        execute(on_postgresql, "NOTIFY the_end")
        told = []
        for notice in listener.notifies(timeout=WITHIN):
            told.append(notice.channel)
            if notice.channel == "the_end":
                break
    assert told == [WAKE, "the_end"]


def test_nobody_falls_asleep_beside_a_commit_that_does_not_notify(on_postgresql: str) -> None:
    with Threads(on_postgresql, 1) as threads:

        def sleeps() -> bool:
            return bool(execute(on_postgresql, LIE_DOWN)[0][0])

        with transaction.atomic(using=on_postgresql):
            write("x", b"1", {}, using=on_postgresql)
            execute(on_postgresql, "SET CONSTRAINTS ALL IMMEDIATE")
            assert not threads.run(sleeps).result(WITHIN)
        assert threads.run(sleeps).result(WITHIN)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_isolation_may_be_stricter(on_postgresql: str, level: str) -> None:
    with transaction.atomic(using=on_postgresql):
        execute(on_postgresql, f"SET TRANSACTION ISOLATION LEVEL {level}")
        write("x", b"1", {}, using=on_postgresql)
        write("y", b"2", {}, using=on_postgresql)
    assert said(on_postgresql) == [b"1", b"2"]


def test_row_is_as_old_as_its_commit(on_postgresql: str) -> None:
    with transaction.atomic(using=on_postgresql):
        write("x", b"1", {}, using=on_postgresql)
        ((before,),) = execute(on_postgresql, "SELECT clock_timestamp() FROM pg_sleep(0.05)")
    assert rows(on_postgresql)[0].written_at >= before


def test_row_that_comes_with_a_position_keeps_it(database: str) -> None:
    """As from a backup that is loaded."""
    execute(database, "INSERT INTO flotilla_outbox (channel, position) VALUES ('x', 70)")
    assert [row.position for row in rows(database)] == [70]


def test_migration_leaves_nothing_behind(on_postgresql: str) -> None:
    call_command("migrate", "flotilla_realtime", "0002", database=on_postgresql, verbosity=0)
    assert execute(on_postgresql, "SELECT proname FROM pg_proc WHERE proname LIKE 'flotilla%%'") == []
    left = execute(
        on_postgresql,
        """SELECT relname FROM pg_class
        WHERE relname LIKE 'flotilla_outbox%%' AND relnamespace = current_schema()::regnamespace""",
    )
    assert left == []


def test_one_writer_at_a_time_gives_ids_in_the_order_of_commits(on_sqlite: str) -> None:
    write("x", b"1", {}, using=on_sqlite)
    assert [(row.position, row.pk) for row in rows(on_sqlite)] == [(row.pk, row.pk) for row in rows(on_sqlite)]
