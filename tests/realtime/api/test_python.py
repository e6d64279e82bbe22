"""The Python API: publishing in and out of transactions, reading, and commands to the cluster."""

import asyncio
import dataclasses
import datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.translation import gettext_lazy

import flotilla
from flotilla import (
    abroadcast,
    adisconnect,
    ahistory,
    apresence,
    apublish,
    aunsubscribe,
    broadcast,
    disconnect,
    history,
    make_connection_token,
    presence,
    publish,
    unsubscribe,
)
from flotilla.realtime.engine import pages
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import StoreUnavailable, get_store
from flotilla.store.shards import reset_store
from tests.realtime.client.peers import Peer
from tests.store.places import nobody
from tests.store.redis_process import until

ROOM = "open:a"


@pytest.fixture(autouse=True)
def _close(configured: Any) -> Any:
    """Close the synchronous connections."""
    yield
    asyncio.run(get_store().close())


def data() -> list[Any]:
    """What is in the room's history."""
    return [one["data"] for one in history(ROOM).publications]


class TestTransactions:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_outside_of_one_it_is_sent_at_once(self) -> None:
        """And its place is returned."""
        first, second = publish(ROOM, 1), publish(ROOM, 2)
        assert first is not None and second is not None
        assert (first.offset, second.offset, first.epoch) == (1, 2, second.epoch)
        assert data() == [1, 2]

    def test_an_older_version_is_dropped_at_its_commit(self) -> None:
        """Whichever transaction is the last to end; half an emoji comes back as it was."""
        with transaction.atomic():
            publish(ROOM, "older", version=1)
            publish(ROOM, "newer \ud83d", version=2, on_commit=False)
        assert data() == ["newer \ud83d"]
        place = publish(ROOM, "older", version=2)
        assert place is not None
        assert place.offset == 1

    def test_what_no_client_could_be_sent_is_refused_before_the_commit(self) -> None:
        """The caller is told, not the log."""
        with pytest.raises(CommandError, match="too large"), transaction.atomic():
            publish(ROOM, "x" * 1_048_576)
        assert data() == []
        assert publish("plain:a", "x" * 1_048_576) == (0, "")

    def test_inside_of_one_it_waits_for_the_commit(self) -> None:
        """In order; None is returned."""
        with transaction.atomic():
            assert publish(ROOM, 1) is None
            with transaction.atomic():
                assert publish(ROOM, 2) is None
            assert broadcast([ROOM, ROOM], 3) == [None, None]
            assert data() == []
        assert data() == [1, 2, 3, 3]

    def test_a_rollback_drops_it(self) -> None:
        """The whole transaction's, or a savepoint's alone."""
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            publish(ROOM, 1)
            raise ZeroDivisionError
        assert data() == []
        with transaction.atomic():
            publish(ROOM, 2)
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                publish(ROOM, 3)
                raise ZeroDivisionError
        assert data() == [2]

    def test_it_can_be_told_not_to_wait(self) -> None:
        """Then a rollback changes nothing."""
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            sent = publish(ROOM, 1, on_commit=False)
            assert sent is not None and sent.offset == 1
            raise ZeroDivisionError
        assert data() == [1]

    def test_data_is_what_it_was_when_published(self) -> None:
        """Not what it has become at the commit."""
        message = {"n": 1}
        with transaction.atomic():
            publish(ROOM, message)
            message["n"] = 2
        assert data() == [{"n": 1}]

    def test_mistakes_are_raised_at_the_call(self) -> None:
        """Not at the commit."""
        with transaction.atomic():
            with pytest.raises(CommandError):
                publish("nowhere:a", 1)
            with pytest.raises(TypeError):
                publish(ROOM, object())
            with pytest.raises(TypeError, match="tags are texts"):
                publish(ROOM, 1, tags={"team": 5})  # type: ignore[dict-item]


class TestPublishing:
    def test_a_repeat_publishes_nothing(self) -> None:
        """The first one's place is returned."""
        first = publish(ROOM, 1, on_commit=False, idempotency_key="key")
        assert publish(ROOM, 2, on_commit=False, idempotency_key="key") == first
        assert data() == [1]

    def test_a_key_is_kept_where_it_means_something(self) -> None:
        """And refused elsewhere: it would do nothing there. So is one that is too long."""
        publish("wall:a", 1, on_commit=False, key="x", tags={"kind": "y"})
        assert history("wall:a").publications == [{"offset": 1, "data": 1, "tags": {"kind": "y"}, "key": "x"}]
        with pytest.raises(CommandError, match="conflate"):
            publish(ROOM, 1, on_commit=False, key="x")
        with pytest.raises(CommandError, match="255 bytes"):
            publish("wall:a", 1, on_commit=False, key="x" * 256)

    def test_tags_and_skipping_history(self) -> None:
        """As options."""
        publish(ROOM, 1, on_commit=False, tags={"kind": "x"})
        skipped = publish(ROOM, 2, on_commit=False, skip_history=True)
        assert skipped == (0, "")
        assert history(ROOM).publications == [{"offset": 1, "data": 1, "tags": {"kind": "x"}}]

    def test_what_django_has_can_be_sent(self) -> None:
        """Dates, dataclasses, lazy strings."""

        @dataclasses.dataclass
        class Point:
            x: int

        publish(ROOM, [datetime.date(2026, 1, 2), Point(1), gettext_lazy("word"), None], on_commit=False)
        assert data() == [["2026-01-02", {"x": 1}, "word", None]]

    def test_a_broadcast_checks_every_channel_first(self) -> None:
        """All or none, as far as names go."""
        with pytest.raises(CommandError) as caught:
            broadcast([ROOM, "nowhere:a"], 1, on_commit=False)
        assert caught.value.code == 102
        assert data() == []
        places = broadcast([ROOM, "plain:a"], 1, on_commit=False)
        assert [place and place.offset for place in places] == [1, 0]

    def test_a_redis_that_is_away_is_said(self, configured: Any, tmp_path: Any) -> None:
        """StoreUnavailable."""
        configured.REDIS_URLS = [nobody(tmp_path)]
        reset_store()
        with pytest.raises(StoreUnavailable):
            publish(ROOM, 1, on_commit=False)


class TestReading:
    def test_history_in_pages(self) -> None:
        """All, some, from a place, backward; another epoch's place is an error."""
        for number in range(1, 5):
            last = publish(ROOM, number, on_commit=False)
        assert last is not None
        since = StreamPosition(last.epoch, 2)
        assert [one["offset"] for one in history(ROOM, since=since).publications] == [3, 4]
        assert [one["offset"] for one in history(ROOM, limit=2, reverse=True).publications] == [4, 3]
        assert [one["offset"] for one in history(ROOM, since=since, reverse=True).publications] == [1]
        assert history(ROOM, since=StreamPosition("", 0), reverse=True).publications == []
        assert history(ROOM, limit=0) == ([], 4, last.epoch)

    def test_history_that_is_too_large_for_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is refused, and read in parts."""
        for number in range(4):
            publish(ROOM, number)
        monkeypatch.setattr(pages, "MOST_BYTES", 30)
        for reading in (lambda: history(ROOM), lambda: asyncio.run(ahistory(ROOM))):
            with pytest.raises(CommandError) as refused:
                reading()
            assert refused.value.code == ErrorCode.LIMIT_EXCEEDED
        assert len(history(ROOM, limit=2).publications) == 2
        with pytest.raises(CommandError) as caught:
            history(ROOM, since=StreamPosition("other", 2))
        assert caught.value.code == 112

    def test_what_a_channel_has_not_is_not_available(self) -> None:
        """108."""
        for ask in (lambda: history("plain:a"), lambda: presence("plain:a")):
            with pytest.raises(CommandError) as caught:
                ask()
            assert caught.value.code == 108

    def test_codes_are_checked(self) -> None:
        """Before anything is sent."""
        for code in (1000, 2999, 5000):
            with pytest.raises(ValueError, match="3000 to 4999"):
                disconnect("42", code=code)
        for code in (1999, 3000):
            with pytest.raises(ValueError, match="2000 to 2999"):
                unsubscribe("42", ROOM, code=code)


def test_the_names_are_there() -> None:
    """Every exported name can be had, and no other."""
    assert all(callable(getattr(flotilla, name)) for name in flotilla.__all__)
    with pytest.raises(AttributeError):
        flotilla.nothing  # noqa: B018


@pytest.mark.asyncio
class TestCluster:
    async def test_coroutines_publish_and_read(self, node: Node) -> None:
        """Subscribers get it."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe(ROOM)
        assert (await apublish(ROOM, {"n": 1})).offset == 1
        assert [place.offset for place in await abroadcast([ROOM, "plain:a"], 2)] == [2, 0]
        await until(lambda: peer.data(ROOM) == [{"n": 1}, 2])
        assert [one["data"] for one in (await ahistory(ROOM)).publications] == [{"n": 1}, 2]
        assert await apresence(ROOM) == {peer.client.id: {"user": "", "client": peer.client.id}}
        assert await asyncio.to_thread(presence, ROOM) == await apresence(ROOM)

    @pytest.mark.parametrize("in_thread", [True, False])
    async def test_a_user_is_disconnected_everywhere(self, node: Node, in_thread: bool) -> None:
        """By id or by object, one client or all, with the code asked for; others stay."""

        def call(*args: Any, **options: Any) -> Any:
            return asyncio.to_thread(disconnect, *args, **options) if in_thread else adisconnect(*args, **options)

        peers = [Peer(node) for _ in range(4)]
        for peer, user in zip(peers, "1222", strict=True):
            await peer.connect(token=make_connection_token(user))
        await until(lambda: node.heartbeat.alive)
        await call(2, client=peers[3].client.id, code=4001)
        assert await peers[3].end() == (4001, "disconnected by the server")
        await call("1", client=peers[2].client.id)
        await call(get_user_model()(pk=2))
        assert await peers[1].end() == await peers[2].end() == (3503, "force disconnect")
        assert peers[0].socket.closed is None

    @pytest.mark.parametrize("in_thread", [True, False])
    async def test_a_user_is_unsubscribed_everywhere(self, node: Node, in_thread: bool) -> None:
        """With a push; the connection stays."""
        peers = [Peer(node) for _ in range(2)]
        for peer, user in zip(peers, "12", strict=True):
            await peer.connect(token=make_connection_token(user))
            await peer.subscribe(ROOM)
        await until(lambda: node.heartbeat.alive)
        await (asyncio.to_thread(unsubscribe, "2", ROOM) if in_thread else aunsubscribe("2", ROOM))
        await until(lambda: peers[1].pushes("unsubscribe", ROOM) == [{"code": 2000, "reason": "server unsubscribe"}])
        assert list(peers[0].client.subscriptions) == [ROOM]
        assert peers[1].client.subscriptions == {}
        assert peers[1].socket.closed is None
