"""Rows of the outbox in the script of publications: each once, behind the row before it, in channels with and without
history."""

import pytest

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.calls import APPENDED, BEHIND, OLD_VERSION, REPEAT, OutboxPlace, Placed
from flotilla.store import Store, StoreRefused, placement_of

KEPT = ChannelOptions(history_size=10, history_ttl=60, history_meta_ttl=3600)
NOT_KEPT = ChannelOptions()


def publish(store: Store, place: OutboxPlace, options: ChannelOptions = KEPT, version: int = 0) -> Placed:
    call = calls.publish_row("room", b'{"data":%d}' % place.position, options, place, version=version)
    [placed] = Broker(store).publish_rows_sync(store.shard_for(call.placement), [("room", call)])
    assert not isinstance(placed, StoreRefused)
    return placed


@pytest.mark.parametrize("options", [KEPT, NOT_KEPT])
def test_a_row_is_appended_once(store: Store, options: ChannelOptions) -> None:
    """Without a limit of time where there is history; one before the last row is a repeat too."""
    assert publish(store, OutboxPlace("a", 5), options).kind == APPENDED
    assert publish(store, OutboxPlace("a", 9, after=5), options).kind == APPENDED
    for position in (5, 7, 9):
        assert publish(store, OutboxPlace("a", position), options).kind == REPEAT
    assert publish(store, OutboxPlace("b", 5), options).kind == APPENDED  # of another source


@pytest.mark.parametrize("options", [KEPT, NOT_KEPT])
def test_a_row_whose_row_before_is_missing_is_not_appended(store: Store, options: ChannelOptions) -> None:
    """It is told what the last one is."""
    assert publish(store, OutboxPlace("a", 5, after=4), options)[:1] == (BEHIND,)
    first = publish(store, OutboxPlace("a", 5), options)
    behind = publish(store, OutboxPlace("a", 9, after=7), options)
    assert (behind.kind, behind.position, behind.epoch) == (BEHIND, 5, first.epoch)
    assert publish(store, OutboxPlace("a", 9, after=5), options).kind == APPENDED


def test_a_row_behind_one_of_another_generation_is_not_appended(store: Store) -> None:
    """Though nothing is known of its source there."""
    epoch = publish(store, OutboxPlace("a", 5)).epoch
    generation = epoch.partition(".")[0]
    assert publish(store, OutboxPlace("b", 6, generation="other")).kind == BEHIND
    assert publish(store, OutboxPlace("b", 6, generation=generation)).kind == APPENDED


def test_positions_go_with_the_stream(store: Store) -> None:
    """When that is gone, the row before is missing: the generation alone is told."""
    epoch = publish(store, OutboxPlace("a", 5)).epoch
    placement = placement_of("room")
    store.shard_for(placement).execute_sync("DEL", placement.key("meta"), placement.key("stream"))
    behind = publish(store, OutboxPlace("a", 6, after=5))
    assert (behind.kind, behind.position, behind.epoch) == (BEHIND, 0, epoch.partition(".")[0])
    assert publish(store, OutboxPlace("a", 6)).offset == 1


def test_a_version_that_is_old_is_done_with(store: Store) -> None:
    """Nothing is appended, and rows go on behind it."""
    assert publish(store, OutboxPlace("a", 5), version=7).kind == APPENDED
    assert publish(store, OutboxPlace("a", 6, after=5), version=7).kind == OLD_VERSION
    assert publish(store, OutboxPlace("a", 7, after=6), version=8).offset == 2


def test_of_many_in_one_round_trip_those_behind_a_failure_fail(store: Store) -> None:
    """The second one is refused by Redis; the third does not overtake it, other channels go on."""
    rows, shard = [], store.shard_for(placement_of("room"))
    hall = next(name for name in map(str, range(1000)) if store.shard_for(placement_of(name)) is shard)
    assert publish(store, OutboxPlace("x", 1)).kind == APPENDED  # so that partitions are there
    for channel, position in (("room", 1), ("room", 2), ("room", 3), (hall, 4)):
        after = position - 1 if channel == "room" else 0
        rows.append((channel, calls.publish_row(channel, b'{"data":1}', KEPT, OutboxPlace("a", position, after))))
    broken = rows[1][1]
    rows[1] = (
        "room",
        calls.Call(broken.placement, broken.script, broken.keys, (*broken.args[:3], "x", *broken.args[4:])),
    )
    first, second, third, other = Broker(store).publish_rows_sync(shard, rows)
    assert isinstance(second, StoreRefused)
    assert not isinstance(first, StoreRefused) and first.kind == APPENDED
    assert not isinstance(third, StoreRefused) and (third.kind, third.position) == (BEHIND, 1)
    assert not isinstance(other, StoreRefused) and other.kind == APPENDED
