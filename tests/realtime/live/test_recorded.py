"""A project's tests see what live models publish, as they see other durable publications."""

from collections.abc import Iterator
from typing import Any

import pytest

from flotilla.realtime.live.operation import watchers
from flotilla.testing import Recorder, recording
from tests.realtime.live.desk.models import Board, Plain
from tests.realtime.outbox.databases import rolled_back

pytestmark = pytest.mark.django_db


@pytest.fixture
def published() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder
    assert watchers == []


@pytest.fixture
def board() -> Board:
    return Board.objects.create()


def test_a_change_waits_for_the_commit(published: Recorder, board: Board) -> None:
    made = Plain.objects.create(board=board, title="a")
    made.title = "b"
    made.save()
    data = {"id": made.pk, "title": "b", "position": 0, "state": "open", "board": board.pk}
    change = {"op": "set", "key": str(made.pk), "data": data}
    published.assert_published(f"shelf:{board.pk}", change, count=1, pending=True)
    assert len(published) == 1


def test_a_change_is_sent_at_the_commit(
    published: Recorder, board: Board, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        Plain.objects.create(board=board, title="a")
    published.assert_published(f"shelf:{board.pk}", pending=False)


def test_what_a_savepoint_takes_away(published: Recorder, board: Board) -> None:
    made = Plain.objects.create(board=board, title="a")
    with rolled_back("default"):
        made.title = "b"
        made.save()
    [one] = published
    assert one.data["data"]["title"] == "a"
    key = str(made.pk)
    made.delete()
    [one] = published
    assert one.data == {"op": "remove", "key": key}
