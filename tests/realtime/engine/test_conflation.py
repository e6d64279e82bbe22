"""Channels that conflate: who reads too slowly gets the newest of each key, and memory has a bound."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.feeder import AT_ONCE
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.view import Deltas, View
from flotilla.realtime.protocol.filters import FilterNode, compiled
from flotilla.realtime.protocol.replies import publication_body
from tests.realtime.engine.processes import Make, Process
from tests.realtime.engine.test_feeder import Reader
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

KEPT = ChannelOptions(history_size=5000, history_ttl=60, history_meta_ttl=7200, conflate=True)
UNKEPT = ChannelOptions(conflate=True)
SIZE = 4000


@pytest_asyncio.fixture
async def one(make: Make) -> AsyncIterator[Process]:
    yield await make()


async def say(
    process: Process, keys: list[str], options: ChannelOptions = KEPT, *, size: int = SIZE, skip: bool = False
) -> StreamPosition:
    """One publication for each key."""
    bodies = [publication_body(b'"%s"' % (key.encode() + b"x" * size), None, {"of": key}, key) for key in keys]
    return [await process.broker.publish("room", body, options, skip_history=skip) for body in bodies][-1]


async def enter(process: Process, options: ChannelOptions = KEPT, view: View | None = None) -> Reader:
    reader = Reader(process)
    subscription = Subscription(reader, "room", positioned=options.has_history, view=view or View())
    joined = await process.hub.subscribe(subscription, options)
    process.hub.feeder.release(joined, subscription, process.hub.top(joined).offset)
    return reader


async def all_came(process: Process, count: int) -> None:
    await until(lambda: process.hub.channels["room"].publications == count)


def keys_of(reader: Reader) -> list[str]:
    return [push["pub"]["data"].rstrip("x") for push in reader.pushes]


@pytest.mark.parametrize("options", [KEPT, UNKEPT], ids=["with history", "without"])
async def test_a_slow_reader_gets_the_newest_of_each_key(one: Process, options: ChannelOptions) -> None:
    """It is never sent more than its socket may hold, others get everything, and it goes on as they do in the end."""
    slow, fast = await enter(one, options), await enter(one, options)
    channel = one.hub.channels["room"]
    for count in range(10, 490, 10):
        await say(one, [f"k{number % 40}" for number in range(count - 10, count)], options)
        await fast.read_all(lambda count=count: len(fast.pushes) == count)
    assert slow.max_waiting < 2 * AT_ONCE and not slow.dropped
    (line,) = one.hub.feeder._lines.values()
    assert 0 < line.held <= 40 * (SIZE + 200)
    before = len(slow.pushes)
    await slow.read_all(lambda: not channel.feeds)
    assert keys_of(slow)[before:] == [f"k{number}" for number in range(40)]
    assert (slow.offsets[before:] == list(range(441, 481))) is options.has_history
    assert line.held == 0 and not slow.dropped
    await say(one, ["k1", "k1"], options)
    await until(lambda: keys_of(slow)[before + 40 :] == ["k1", "k1"])


async def test_a_key_is_not_for_clients(one: Process) -> None:
    reader = await enter(one)
    await say(one, ["k"], size=0)
    await until(lambda: [push["pub"] for push in reader.pushes] == [{"data": "k", "tags": {"of": "k"}, "offset": 1}])


async def test_what_has_no_key_is_not_left_out(one: Process) -> None:
    slow = await enter(one)
    await say(one, ["k"] * 80)
    await all_came(one, 80)
    await say(one, ["", "k", "", "k"])
    await all_came(one, 84)
    before = len(slow.pushes)
    assert before < 80
    await slow.read_all(lambda: not one.hub.channels["room"].feeds)
    assert keys_of(slow)[before:] == ["", "", "k"]


async def test_what_history_skips_is_conflated_as_well(one: Process) -> None:
    slow = await enter(one)
    await say(one, ["a", "b"] * 40)
    await all_came(one, 80)
    await say(one, ["a", "c"], skip=True)
    await all_came(one, 82)
    before = len(slow.pushes)
    await slow.read_all(lambda: not one.hub.channels["room"].feeds)
    assert keys_of(slow)[before:] == ["b", "a", "c"]


async def test_more_keys_than_there_is_memory_for_are_read_from_history(one: Process) -> None:
    """Nothing but replaced publications is left out."""
    slow = await enter(one)
    channel = one.hub.channels["room"]
    keys = [f"k{number}" for number in range(300)]
    await say(one, keys)
    await say(one, keys)
    await all_came(one, 600)
    (line,) = one.hub.feeder._lines.values()
    assert line.held <= line.max_held < 300 * SIZE
    (feed,) = channel.feeds.values()
    assert feed.behind
    await slow.read_all(lambda: not channel.feeds)
    assert slow.offsets == sorted(set(slow.offsets))
    last = dict(zip(keys_of(slow), slow.offsets, strict=True))
    assert last == {key: 301 + number for number, key in enumerate(keys)}


async def test_what_is_read_from_history_replaces_nothing_that_is_newer(one: Process) -> None:
    """What history skips waits in memory, while older publications of the same key are still to be read."""
    slow = await enter(one)
    channel = one.hub.channels["room"]
    keys = [f"k{number}" for number in range(300)]
    await say(one, keys)
    await all_came(one, 300)
    (feed,) = channel.feeds.values()
    assert feed.behind
    await say(one, ["k297", "k298"], size=0, skip=True)
    await say(one, ["k298"], size=0)
    await all_came(one, 303)
    await slow.read_all(lambda: not channel.feeds)
    told = [push["pub"].get("offset") for push in slow.pushes if push["pub"]["tags"]["of"] == "k297"]
    assert told == [None]
    assert [push["pub"].get("offset") for push in slow.pushes if push["pub"]["tags"]["of"] == "k298"][-1] == 301
    assert {push["pub"]["tags"]["of"] for push in slow.pushes} == set(keys)


async def test_more_keys_than_there_is_memory_for_end_the_client_without_history(one: Process) -> None:
    """Memory has a bound, and nothing would be left to read."""
    slow = await enter(one, UNKEPT)
    await say(one, [f"k{number}" for number in range(300)], UNKEPT)
    await until(lambda: slow.dropped)


async def test_a_filter_comes_first(one: Process) -> None:
    """What it does not want takes no room and replaces nothing."""
    wanted = compiled(FilterNode(key="of", cmp="in", vals=["a", "b"]))
    slow, fast = await enter(one, view=View(filter=wanted)), await enter(one)
    for start in range(0, 1200, 8):
        await say(one, ["a", "c", "b", "c"] * 2)
        await fast.read_all(lambda count=start + 8: len(fast.pushes) == count)
    (line,) = one.hub.feeder._lines.values()
    assert line.held < 3 * (SIZE + 200)
    before = len(slow.pushes)
    await slow.read_all(lambda: not one.hub.channels["room"].feeds)
    assert slow.offsets[before:] == [1197, 1199]


async def test_others_are_slow_in_channels_that_do_not_conflate(one: Process) -> None:
    """There nothing is left out: whoever does not read is sent everything, until its socket says that it is enough."""
    options = ChannelOptions(history_size=5000, history_ttl=60, history_meta_ttl=7200)
    slow = await enter(one, options)
    await say(one, ["k"] * 200, options)
    await all_came(one, 200)
    assert len(slow.pushes) == 200 and not one.hub.channels["room"].feeds


async def test_deltas_begin_again_behind_what_was_left_out(one: Process) -> None:
    """What a slow reader is given by itself is whole, and so is the first that it is given with the others again."""
    options = ChannelOptions(
        history_size=5000,
        history_ttl=60,
        history_meta_ttl=7200,
        conflate=True,
        delta_publish=True,
        allowed_delta_types=("fossil",),
    )
    slow, fast = [await enter(one, options, View(deltas=Deltas.FIRST)) for _ in range(2)]
    for count in range(10, 210, 10):
        slow.waiting = 2 * AT_ONCE
        await say(one, ["a"] * 10, options)
        await fast.read_all(lambda count=count: len(fast.pushes) == count)
    assert all("delta" in push["pub"] for push in fast.pushes[1:])
    before = len(slow.pushes)
    await slow.read_all(lambda: not one.hub.channels["room"].feeds)
    assert [(push["pub"]["offset"], "delta" in push["pub"]) for push in slow.pushes[before:]] == [(200, False)]
    await say(one, ["a", "a"], options)
    await until(lambda: len(slow.pushes) == before + 3)
    assert ["delta" in push["pub"] for push in slow.pushes[before + 1 :]] == [False, True]
