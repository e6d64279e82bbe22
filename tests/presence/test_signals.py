"""Signals per scope and user: sync and async receivers, failures, nobody listening."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flotilla.presence import Presence
from flotilla.presence.signals import user_joined, user_left
from tests.presence.cluster import Maker, eventually

pytestmark = pytest.mark.asyncio

ROOM = "c:room"


class Heard:
    """What the receivers got."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def joined(self, sender: type[Any], scope: str, user: str, incarnation: str, **rest: Any) -> None:
        assert sender is Presence
        self.told.append(("joined", scope, user))

    async def left(self, sender: type[Any], scope: str, user: str, incarnation: str, **rest: Any) -> None:
        self.told.append(("left", scope, user))


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    user_joined.connect(heard.joined)
    user_left.connect(heard.left)
    yield heard
    user_joined.disconnect(heard.joined)
    user_left.disconnect(heard.left)


async def test_user_is_told_once_however_many_connections(make: Maker, heard: Heard) -> None:
    a, b = await make("a"), await make("b")
    await a.add(ROOM, "c1", "ann", b"")
    await b.add(ROOM, "c2", "ann", b"")
    await a.remove(ROOM, "c1")
    await eventually(lambda: not a.busy, "told")
    assert heard.told == [("joined", ROOM, "ann")]
    await b.remove(ROOM, "c2")
    await eventually(lambda: not b.busy, "told")
    assert heard.told == [("joined", ROOM, "ann"), ("left", ROOM, "ann")]


async def test_user_of_a_crashed_instance_leaves_once(make: Maker, heard: Heard) -> None:
    a, b, c = await make("a"), await make("b"), await make("c")
    await a.add(ROOM, "c1", "ann", b"")
    await a.add(ROOM, "c2", "bob", b"")
    await b.add(ROOM, "c3", "bob", b"")
    await a.crash()
    await eventually(lambda: ("left", ROOM, "ann") in heard.told, "ann left")
    await b.remove(ROOM, "c3")
    await c.stop()
    await eventually(lambda: not b.busy, "told")
    assert heard.told.count(("left", ROOM, "ann")) == 1
    assert heard.told.count(("left", ROOM, "bob")) == 1


async def test_stopping_tells_of_the_users_that_were_left(make: Maker, heard: Heard) -> None:
    a = await make("a")
    await a.add(ROOM, "c1", "ann", b"")
    await a.stop()
    assert heard.told == [("joined", ROOM, "ann"), ("left", ROOM, "ann")]


async def test_failing_receiver_is_logged_and_changes_nothing(
    make: Maker, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**rest: Any) -> None:
        raise RuntimeError("receiver broke")

    user_joined.connect(fails)
    try:
        a = await make("a")
        with caplog.at_level(logging.ERROR):
            assert await a.add(ROOM, "c1", "ann", b"")
            await eventually(lambda: not a.busy, "told")
    finally:
        user_joined.disconnect(fails)
    assert heard.told == [("joined", ROOM, "ann")]
    assert sum("receiver broke" in str(record.exc_info) for record in caplog.records) == 1
