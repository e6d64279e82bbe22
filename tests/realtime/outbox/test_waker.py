"""A relay that sleeps on PostgreSQL is notified of commits, and commits notify nobody else."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.db import connections, transaction

from flotilla.realtime.outbox.order import WAKE
from flotilla.realtime.outbox.rows import write
from flotilla.realtime.outbox.waker import Waker
from tests.realtime.outbox.databases import Threads, execute

WITHIN = 20.0  # seconds: how long a busy machine may take
LONGER = 60.0  # than anybody here waits: who was not woken comes too late


@pytest.fixture
def waker(on_postgresql: str) -> Iterator[Waker]:
    made = Waker(on_postgresql)
    yield made
    made.close()


def sleepers(alias: str) -> int:
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1179406166"
    return int(execute(alias, held)[0][0])


def test_who_sleeps_is_woken_by_a_commit(on_postgresql: str, waker: Waker) -> None:
    def sleep() -> None:
        waker.listen(WAKE)
        waker.wait(LONGER)  # to look at what was there before
        waker.wait(LONGER)  # to look once more, as commits notify from now on
        assert sleepers(on_postgresql) == 1
        waker.wait(LONGER)
        assert sleepers(on_postgresql) == 0

    with Threads(on_postgresql, 1) as threads:
        slept = threads.run(sleep)
        while not sleepers(on_postgresql) and not slept.done():
            pass
        write("x", b"1", {}, using=on_postgresql)
        slept.result(WITHIN)


def test_who_is_awake_looks_again_soon_while_a_commit_is_under_way(on_postgresql: str, waker: Waker) -> None:
    def wait() -> int:
        waker.listen(WAKE)
        waker.wait(LONGER)
        waker.wait(LONGER)  # ends although nothing happens
        return 1

    with Threads(on_postgresql, 1) as threads, transaction.atomic(using=on_postgresql):
        write("x", b"1", {}, using=on_postgresql)
        execute(on_postgresql, "SET CONSTRAINTS ALL IMMEDIATE")
        assert threads.run(wait).result(WITHIN) == 1


SELECTABLE = 1024  # FD_SETSIZE: descriptors from this one on are not for select()


def test_who_has_very_many_descriptors_open_is_woken_as_well() -> None:
    """As a serving process with a thousand clients, whose relay connects anew."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * SELECTABLE:
        pytest.skip("no process may have that many here")
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * SELECTABLE), hard))
        number = 0
        while number < SELECTABLE:
            number = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, number)
        waker = Waker("default")
        opened.callback(waker.close)
        waker.wake()
        began = time.monotonic()
        waker.wait(LONGER)
        assert time.monotonic() < began + LONGER


def test_behind_a_pooler_nobody_listens_and_no_lock_is_left_in_a_session_of_others(
    on_postgresql: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """PgBouncer in transaction mode tells a number of its own when one connects."""
    caplog.set_level("INFO", "flotilla.outbox")
    connection = connections[on_postgresql]
    connection.ensure_connection()
    told = type(connection.connection.info)
    monkeypatch.setattr(told, "backend_pid", 1)
    waker = Waker(on_postgresql)
    try:
        for _ in range(3):
            waker.listen(WAKE)
            waker.wait(0.05)
        assert sleepers(on_postgresql) == 0
        assert not execute(on_postgresql, "SELECT pg_listening_channels()")
        assert [line for line in caplog.messages if "pooler" in line] == [
            f"database {on_postgresql}: a pooler is between, so its outbox is looked at now and then"
        ]
    finally:
        waker.close()
