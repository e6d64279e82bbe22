"""What has another place under another list of Redises is there afterwards, and only there; a step can be taken back.

Each Store is a process; what it wrote is looked for by one with the new list."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from flotilla.presence.outbox import part_keys
from flotilla.realtime.api import resharding
from flotilla.realtime.api.resharding import Refused, Resharding, Server
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.map_calls import due_key
from flotilla.realtime.engine.maps import Maps
from flotilla.store import Store, StoreRefused, layout_marks, placement_of
from flotilla.store.placement import PARTITIONS, partition_placement
from tests.store import cluster_process
from tests.store.redis_process import RedisProcess

pytestmark = pytest.mark.skipif(cluster_process.CHOSEN, reason="it is about a list of Redises")

OPTIONS = ChannelOptions(history_size=100, history_ttl=60, history_meta_ttl=7200)
NAMES = [f"room:{number}" for number in range(60)]
EVENTS = 7


@pytest.fixture(scope="module")
def all_redises() -> Iterator[list[RedisProcess]]:
    processes = [RedisProcess() for _ in range(3)]
    yield processes
    for one in processes:
        one.close()


@pytest.fixture
def redises(all_redises: list[RedisProcess]) -> list[RedisProcess]:
    for one in all_redises:
        one.ask("FLUSHALL")
    return all_redises


def _urls(redises: list[RedisProcess], numbers: str) -> list[str]:
    return [redises[int(number)].url for number in numbers]


@contextmanager
def _process(redises: list[RedisProcess], numbers: str) -> Iterator[Store]:
    """A process with a list of Redises, to its end."""
    store = Store(_urls(redises, numbers))
    yield store
    store.layout.leave()
    for shard in store.shards:
        shard.close_sync()


@contextmanager
def _work(redises: list[RedisProcess], old: str, new: str) -> Iterator[Resharding]:
    work = Resharding(_urls(redises, old), _urls(redises, new), lambda _: None)
    yield work
    work.close()


def _fill(store: Store) -> dict[str, tuple[str, list[bytes]]]:
    """Streams, maps, a block, events of a webhook, and a key under which something was published."""
    broker = Broker(store)
    for name in NAMES:
        for number in range(3):
            broker.publish_sync(name, b'{"data":%d}' % number, OPTIONS, idempotency_key=f"{number}")
        Maps(broker).set_sync(f"map:{name}", "k", b'{"data":1}', OPTIONS, ttl=3600.0)
    blocklist.add(store, "u:ann", 3600, {"by": "test", "note": ""})
    for shard in store.shards:
        events, about = part_keys("hook", partition_placement(5))
        shard.execute_sync("RPUSH", events, *[f"{shard.index}-{number}" for number in range(EVENTS)])
        shard.execute_sync("HSET", about, "number", EVENTS, "bytes", 100)
    return {name: _history(broker, name) for name in NAMES}


def _history(broker: Broker, name: str) -> tuple[str, list[bytes]]:
    page = broker.history_sync(name, OPTIONS, limit=100)
    return page.top.epoch, [one.body for one in page.publications]


def _judge(store: Store, before: dict[str, tuple[str, list[bytes]]], redises: list[RedisProcess], of: int) -> None:
    broker = Broker(store)
    after = {name: _history(broker, name) for name in NAMES}
    assert {name: bodies for name, (_, bodies) in after.items()} == {name: one for name, (_, one) in before.items()}
    for name in NAMES:
        again = broker.publish_sync(name, b'{"data":2}', OPTIONS, idempotency_key="2")
        assert (again.epoch, again.offset) == (after[name][0], 3)
        one = broker.publish_sync(name, b'{"data":3}', OPTIONS)
        assert (one.epoch, one.offset) == (after[name][0], 4)
    assert blocklist.find(store, ["u:ann"])
    waiting = [
        shard.execute_sync("LRANGE", part_keys("hook", partition_placement(5))[0], 0, -1) for shard in store.shards
    ]
    assert sum(map(len, waiting)) == of * EVENTS
    numbers = [
        int(shard.execute_sync("HGET", part_keys("hook", partition_placement(5))[1], "number") or 0)
        for shard in store.shards
    ]
    assert sum(numbers) == of * EVENTS


@pytest.mark.parametrize(("old", "new"), [("0", "01"), ("01", "0"), ("0", "1"), ("01", "10")])
def test_a_switch_that_was_done_is_not_done_again(redises: list[RedisProcess], old: str, new: str) -> None:
    with _process(redises, old) as store:
        store.shards[0].execute_sync("PING")
    with _work(redises, old, new) as work:
        work.prepare()
        work.end(1.0)
        work.move()
        work.open()
        with _process(redises, new) as store:
            store.shards[0].execute_sync("PING")
            with pytest.raises(Refused, match="begun already"):
                work.prepare()


@pytest.mark.parametrize(("old", "new"), [("0", "01"), ("01", "0"), ("0", "1"), ("01", "10")])
def test_a_switch_is_not_done_again_before_the_new_layout_begins(
    redises: list[RedisProcess], old: str, new: str
) -> None:
    """What was moved is not taken for keys of an earlier time, which somebody would have to remove."""
    with _process(redises, old) as store:
        before = _fill(store)
    with _work(redises, old, new) as work:
        work.prepare()
        work.end(1.0)
        work.move()
        work.open()
        with pytest.raises(Refused, match="start processes"):
            work.prepare()
        with _process(redises, new) as store:
            _judge(store, before, redises, len(old))


def test_what_two_at_once_have_left_is_gone_on_with(redises: list[RedisProcess]) -> None:
    """As versions before this one did: the new layout was opened, and the old one ended once more."""
    with _process(redises, "0") as store:
        before = _fill(store)
    with _work(redises, "0", "01") as work, _work(redises, "0", "01") as other:
        work.prepare()
        work.end(1.0)
        work.move()
        work.open()
        other.end(1.0)
        with pytest.raises(Refused, match="in use"):
            other.move()
        other.prepare()
        other.end(1.0)
        other.move()
        other.open()
        with _process(redises, "01") as store:
            _judge(store, before, redises, 1)


@pytest.mark.parametrize(("old", "new", "third"), [("01", "012", "0"), ("0", "01", "012"), ("01", "0", "012")])
def test_nobody_waits_with_a_third_list(redises: list[RedisProcess], old: str, new: str, third: str) -> None:
    """As a supervisor does that nobody has told of the last switch: its processes might be first in this one."""
    with _process(redises, old) as store, _process(redises, third) as forgotten:
        before = _fill(store)
        with pytest.raises(StoreRefused, match="LAYOUT"):
            forgotten.shards[0].execute_sync("PING")
        with _work(redises, old, new) as work:
            work.prepare()
            with pytest.raises(Refused, match=f"another list, of {len(third)} Redises"):
                work.end(1.0)
        assert {name: _history(Broker(store), name) for name in NAMES} == before


def test_one_alone_is_at_work(redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it takes; who was killed keeps others out for a moment alone, and `look` none at all."""
    monkeypatch.setattr(resharding, "ALONE_FOR", 0.5)
    with _work(redises, "0", "01") as work, _work(redises, "0", "12") as other:
        with work.alone():
            with pytest.raises(Refused, match=r"another `manage\.py reshard`"), other.alone():
                raise AssertionError("both are at work")
            assert other.look()
        with other.alone():
            pass
        Server(redises[0].url)("SET", work._work, b"killed", "PX", 500)
        with other.alone():
            other.prepare()


@pytest.mark.parametrize(
    ("old", "new"), [("0", "01"), ("01", "012"), ("012", "0"), ("01", "10"), ("0", "1"), ("012", "12"), ("01", "2")]
)
def test_everything_is_in_its_new_place(redises: list[RedisProcess], old: str, new: str) -> None:
    """Names that stay keep their epoch; the others have another one, so that nobody takes one stream for another."""
    with _process(redises, old) as store:
        before = _fill(store)
        places = {name: store.shard_for(placement_of(name)).url for name in NAMES}
    with _work(redises, old, new) as work:
        work.prepare()
        with _process(redises, old) as store, _process(redises, new) as early:
            store.shards[0].execute_sync("PING")
            with pytest.raises(StoreRefused, match="LAYOUT"):
                early.shards[0].execute_sync("PING")
        work.end(1.0)
        assert work.move() > 0
        assert work.stray() == 0
        with _process(redises, old) as late, pytest.raises(StoreRefused, match="LAYOUT"):
            late.shards[0].execute_sync("PING")
        work.open()
        with _process(redises, old) as late, pytest.raises(StoreRefused, match="LAYOUT"):
            late.shards[0].execute_sync("PING")
        with _process(redises, new) as store:
            broker = Broker(store)
            for name, (epoch, _) in before.items():
                stays = store.shard_for(placement_of(name)).url == places[name]
                assert (_history(broker, name)[0] == epoch) is stays, name
            _judge(store, before, redises, len(old))
            assert work.stray() == 0
            with pytest.raises(Refused):
                work.abort()
        for number, one in enumerate(redises):
            if str(number) not in new:
                assert all(b":layout" in key for key in one.ask("KEYS", "*"))


def test_there_and_back_ends_every_position_of_what_was_elsewhere(redises: list[RedisProcess]) -> None:
    """A position from before is not taken for one after."""
    moved: list[str] = []
    with _process(redises, "0") as store:
        before = _fill(store)
    for old, new in (("0", "01"), ("01", "0")):
        with _work(redises, old, new) as work:
            work.prepare()
            work.end(1.0)
            work.move()
            work.open()
        with _process(redises, new) as store:
            elsewhere = [
                name for name in NAMES if new == "01" and store.shard_for(placement_of(name)) is not store.first
            ]
            moved = elsewhere or moved
            for name in moved:
                Broker(store).publish_sync(name, b'{"data":9}', OPTIONS)
    with _process(redises, "0") as store:
        for name in NAMES:
            epoch, bodies = _history(Broker(store), name)
            assert (epoch == before[name][0]) is (name not in moved)
            assert len(bodies) == (5 if name in moved else 3)


class _Killed(BaseException):
    """The command is killed."""


def _killed_at(monkeypatch: pytest.MonkeyPatch, word: str, times: int = 1) -> None:
    """Kill it before this command is sent, or HSET of this field, for the so many-th time."""
    send, left = Server.many, [times]

    def many(self: Server, commands: Iterable[Sequence[Any]]) -> list[Any]:
        every = list(commands)
        if any(word == command[0] or (command[0] == "HSET" and word in command) for command in every):
            left[0] -= 1
            if not left[0]:
                raise _Killed
        return send(self, every)

    monkeypatch.setattr(Server, "many", many)


def _noted(redises: list[RedisProcess]) -> list[list[bytes]]:
    """Which maps each Redis knows to have an entry with an end."""
    keys = [due_key(partition_placement(number)) for number in range(PARTITIONS)]
    return [sorted(channel for key in keys for channel in one.ask("ZRANGE", key, 0, -1)) for one in redises]


@pytest.mark.parametrize("after", ["prepare", "end", "RESTORE", "ZADD", "moved"])
def test_a_step_is_taken_back(redises: list[RedisProcess], after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old layout goes on with everything, and nothing is left of the attempt."""
    with _process(redises, "01") as store:
        before = _fill(store)
    keys, noted = [one.ask("KEYS", "*") for one in redises], _noted(redises)
    with _work(redises, "01", "120") as work:
        work.prepare()
        if after != "prepare":
            work.end(1.0)
        if after not in ("prepare", "end"):
            with monkeypatch.context() as killed:
                _killed_at(killed, after, 3 if after == "ZADD" else 1)
                with pytest.raises(_Killed):
                    work.move()
        work.abort()
    with _process(redises, "01") as store:
        _judge(store, before, redises, 2)
    assert [_ours(one.ask("KEYS", "*")) for one in redises] == [_ours(found) for found in keys]
    assert _noted(redises) == noted


def _ours(keys: list[bytes]) -> list[bytes]:
    """Without marks, and without the bitmaps that begin again with an era."""
    return sorted(key for key in keys if b":layout" not in key and b":made:" not in key)


@pytest.mark.parametrize(
    ("word", "times"),
    [("RESTORE", 2), ("ZADD", 3), ("moved", 2), *(("UNLINK", times) for times in (1, 5, 12, 20)), ("RPUSH", 2)],
)
def test_a_command_that_was_killed_is_called_again(
    redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch, word: str, times: int
) -> None:
    """At each place: the end is the same."""
    monkeypatch.setattr(resharding, "BATCH", 30)
    with _process(redises, "01") as store:
        before = _fill(store)
    maps = sorted(channel for found in _noted(redises) for channel in found)
    with _work(redises, "01", "2") as work, monkeypatch.context() as killed:
        work.prepare()
        work.end(1.0)
        _killed_at(killed, word, times)
        with pytest.raises(_Killed):
            work.move()
    with _work(redises, "01", "2") as work:
        work.prepare()
        work.end(1.0)
        work.move()
        work.open()
    assert _noted(redises) == [[], [], maps]
    with _process(redises, "2") as store:
        _judge(store, before, redises, 2)


def test_what_is_in_use_is_not_taken(redises: list[RedisProcess]) -> None:
    """Another cluster of the same prefix, keys of an earlier time, a list that is not that of the cluster."""
    with _process(redises, "0") as ours, _process(redises, "1") as others:
        ours.shards[0].execute_sync("PING")
        others.shards[0].execute_sync("PING")
        with _work(redises, "0", "01") as work, pytest.raises(Refused, match="another cluster"):
            work.prepare()
    redises[2].ask("SET", "flotilla:meta:{p1}:0123456789abcdef0123", "1")
    with _work(redises, "0", "02") as work, pytest.raises(Refused, match="from an earlier time"):
        work.prepare()
    with _work(redises, "01", "2") as work, pytest.raises(Refused, match="--from names 2"):
        work.end(0.1)
    with _work(redises, "0", "0") as work:
        assert work.look()[0].state == ""
    assert layout_marks.CODE == "LAYOUT"


def test_a_prefix_may_look_like_the_name_of_a_key(redises: list[RedisProcess], settings: Any) -> None:
    settings.REALTIME_PREFIX = "a:pe-b:once:*"
    with _process(redises, "01") as store:
        before = _fill(store)
    with _work(redises, "01", "2") as work:
        work.prepare()
        work.end(1.0)
        work.move()
        assert work.stray() == 0
        work.open()
    with _process(redises, "2") as store:
        _judge(store, before, redises, 2)
