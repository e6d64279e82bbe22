"""Transactions that change the same rows at once end with every channel's last word being right."""

import random
import sqlite3
import threading
from typing import Any

import pytest
from django.db import connections, transaction

from flotilla.realtime.live.reading import become_writer
from tests.realtime.live.desk.models import Board, Plain
from tests.realtime.live.support import Desk
from tests.realtime.outbox.databases import Threads, Undone, rolled_back, rows, until_somebody_waits

WITHIN = 60.0  # seconds
WRITERS = 4
TURNS = 25


def last_words(desk: Desk) -> dict[tuple[str, str], str]:
    """What a client that applies everything in order has in the end: `set` or `remove` by channel and key."""
    return {(row.channel, row.key): row.operation for row in rows(desk.alias) if row.live == "desk.PlainLive"}


def is_true(desk: Desk) -> None:
    said = {place for place, operation in last_words(desk).items() if operation == "set"}
    there = {(f"shelf:{row.board_id}", str(row.pk)) for row in Plain.objects.using(desk.alias)}
    assert said == there


def test_a_row_that_two_move_at_once(postgresql_desk: Desk) -> None:
    desk = postgresql_desk
    first, second, third = (Board.objects.using(desk.alias).create() for _ in range(3))
    row = Plain.objects.using(desk.alias).create(board=first, title="a")
    moved, may_commit = threading.Event(), threading.Event()

    def move_and_wait() -> None:
        with transaction.atomic(using=desk.alias):
            own = Plain.objects.using(desk.alias).get(pk=row.pk)
            own.board = second
            own.save()
            moved.set()
            assert may_commit.wait(WITHIN)

    def move(stale: Plain) -> None:
        stale.board = third
        stale.save()

    with Threads(desk.alias, 2) as threads:
        one = threads.run(move_and_wait)
        assert moved.wait(WITHIN)
        other = threads.run(move, Plain.objects.using(desk.alias).get(pk=row.pk))
        until_somebody_waits(desk.alias)
        may_commit.set()
        one.result(WITHIN)
        other.result(WITHIN)
    is_true(desk)
    assert last_words(desk)[f"shelf:{second.pk}", str(row.pk)] == "remove"


def test_a_row_that_moves_while_its_deletion_waits(postgresql_desk: Desk) -> None:
    desk = postgresql_desk
    first, second = (Board.objects.using(desk.alias).create() for _ in range(2))
    row = Plain.objects.using(desk.alias).create(board=first, title="a")
    moved, may_commit = threading.Event(), threading.Event()

    def move_and_wait() -> None:
        with transaction.atomic(using=desk.alias):
            Plain.objects.using(desk.alias).filter(pk=row.pk).update(board=second)
            moved.set()
            assert may_commit.wait(WITHIN)

    with Threads(desk.alias, 2) as threads:
        one = threads.run(move_and_wait)
        assert moved.wait(WITHIN)
        other = threads.run(Plain.objects.using(desk.alias).get(pk=row.pk).delete)
        until_somebody_waits(desk.alias)
        may_commit.set()
        one.result(WITHIN)
        other.result(WITHIN)
    is_true(desk)


def test_writers_at_random(desk: Desk) -> None:
    """Rows move, come and go, one by one and many at once; a third of the transactions is rolled back."""
    boards = [Board.objects.using(desk.alias).create() for _ in range(3)]
    Plain.objects.using(desk.alias).bulk_create([Plain(board=boards[0], title=str(place)) for place in range(6)])

    def write(name: int) -> None:
        dice = random.Random(name)
        for _ in range(TURNS):
            try:
                with transaction.atomic(using=desk.alias):
                    change(dice)
                    if dice.random() < 0.33:
                        raise Undone
            except Undone:
                continue

    def change(dice: random.Random) -> None:
        """One statement that locks, so that no two wait for each other in a circle."""
        become_writer(desk.alias)
        found = Plain.objects.using(desk.alias)
        some = list(found.order_by("pk").values_list("pk", flat=True))
        board, kind = dice.choice(boards), dice.random()
        if kind < 0.2 or not some:
            found.create(board=board, title="new")
        elif kind < 0.3:
            found.filter(pk=dice.choice(some)).delete()
        elif kind < 0.6:
            found.filter(pk__in=dice.sample(some, min(3, len(some)))).update(board=board)
        elif (row := found.select_for_update().filter(pk=dice.choice(some)).first()) is not None:
            row.board = board
            row.save()

    with Threads(desk.alias, WRITERS) as threads:
        for future in [threads.run(write, name) for name in range(WRITERS)]:
            future.result(WITHIN)
    is_true(desk)


def test_on_sqlite_nobody_writes_between_what_is_read_and_written(sqlite_desk: Desk) -> None:
    """In the mode in which SQLite refuses to let a reader become a writer once another one has written."""
    alias = sqlite_desk.alias
    board = Board.objects.using(alias).create()
    row = Plain.objects.using(alias).create(board=board, title="a")
    other = sqlite3.connect(connections.databases[alias]["NAME"], timeout=0)
    tried = []

    def write_too(execute: Any, sql: str, *rest: Any) -> Any:
        done = execute(sql, *rest)
        if sql.startswith("SELECT") and "desk_plain" in sql:
            tried.append(sql)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        return done

    connection = connections[alias]
    mode, connection.transaction_mode = connection.transaction_mode, "DEFERRED"
    try:
        with connection.execute_wrapper(write_too):
            row.title = "b"
            row.save()
            Plain.objects.using(alias).filter(title="b").update(position=4)
            row.delete()
    finally:
        connection.transaction_mode = mode
        other.close()
    assert len(tried) > 3


def test_a_rolled_back_move_leaves_the_row_where_it_was(desk: Desk) -> None:
    first, second = (Board.objects.using(desk.alias).create() for _ in range(2))
    row = Plain.objects.using(desk.alias).create(board=first, title="a")
    with rolled_back(desk.alias):
        row.board = second
        row.save()
    is_true(desk)


def test_becoming_the_writer_is_a_write(sqlite_desk: Desk) -> None:
    """So that nobody else can be one, from then on."""
    with transaction.atomic(using=sqlite_desk.alias):
        become_writer(sqlite_desk.alias)
        other = sqlite3.connect(connections.databases[sqlite_desk.alias]["NAME"], timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
