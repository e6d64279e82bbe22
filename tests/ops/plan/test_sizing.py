"""What a plan says of loads of every size: it grows with the load, and says when nothing suffices."""

from dataclasses import replace

import msgspec
import pytest

from flotilla.ops.plan.costs import read
from flotilla.ops.plan.deaths import LEASE, RETRY, SILENT, instance_dies, redis_dies
from flotilla.ops.plan.load import Load, LoadError
from flotilla.ops.plan.sizing import Limits, Plan, hangs_on, plan
from flotilla.ops.plan.usage import usage
from flotilla.realtime.conf import RealtimeConfig

COSTS, LIMITS = read(), Limits()


def planned(limits: Limits = LIMITS, **load: object) -> Plan:
    return plan(Load.of(**load), COSTS, limits)  # type: ignore[arg-type]


def test_a_small_load_is_one_instance_and_one_redis() -> None:
    made = planned(users=100, rooms=10, rate=1)
    assert (made.usage.instances, made.usage.nodes, made.fits) == (1, 1, True)


@pytest.mark.parametrize("times", [10, 100, 10_000])
def test_more_of_the_same_takes_more(times: int) -> None:
    small = planned(users=1_000, rooms=100, rate=20)
    large = planned(users=1_000 * times, rooms=100 * times, rate=20 * times)
    assert large.cores > small.cores * 2
    assert large.usage.instances >= small.usage.instances
    assert large.usage.nodes >= small.usage.nodes


def test_ten_million_connections_have_a_plan_within_its_limits() -> None:
    made = planned(users=10_000_000, rooms=1_000_000, rate=20_000)
    assert made.fits
    assert made.usage.connections <= made.limits.files
    assert all(one.share <= 1 for one in made.resources)
    fewer = usage(made.load, COSTS, made.usage.instances - 1, made.usage.nodes)
    assert fewer.instance > 1 - made.limits.headroom or fewer.connections + 100 > made.limits.files


def test_a_hot_room_that_each_instance_must_hear_fits_with_no_number_of_them() -> None:
    made = planned(users=1_000, rooms=1, rate=200_000, from_clients=0.0)
    assert not made.fits
    assert {one.name for one in made.resources if one.share > 1} >= {"core of an instance"}
    assert made.usage.instances < 1_000


def test_a_hot_room_costs_more_the_more_is_published() -> None:
    cores = [
        planned(users=1_000_000, rooms=1, rate=rate, from_clients=0.0, presence=False).cores for rate in (1, 4, 16)
    ]
    assert cores == sorted(cores)


def test_a_room_is_on_one_redis_however_many_there_are() -> None:
    load = Load.of(users=10_000, rooms=1, rate=100)
    one, four = usage(load, COSTS, 2, 1), usage(load, COSTS, 2, 4)
    assert four.redis_cpu["publications"] == one.redis_cpu["publications"]
    assert four.redis_memory["streams"] == one.redis_memory["streams"]


def test_more_redises_share_what_is_published_and_not_what_each_instance_asks_of_all() -> None:
    load = Load.of(users=100_000, rooms=10_000, rate=10_000)
    one, four = usage(load, COSTS, 10, 1), usage(load, COSTS, 10, 4)
    assert four.redis_cpu["publications"] == pytest.approx(one.redis_cpu["publications"] / 4)
    assert four.redis_cpu["instances that are there"] == one.redis_cpu["instances that are there"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"rooms": 1, "rate": 1}, "--users"),
        ({"users": 10_000_001, "rooms": 1, "rate": 1}, "10,000,000"),
        ({"users": 10, "rooms": 0, "rate": 1}, "--rooms"),
        ({"users": 10, "rooms": 1, "members": 11, "rate": 1}, "fewer --members"),
        ({"users": 100, "rooms": 2, "members": 10, "rate": 1}, "more --rooms"),
        ({"users": 10, "rooms": 1}, "--room-rate"),
        ({"users": 10, "rooms": 2, "rate": 1, "room_rate": 1}, "contradict"),
        ({"users": 10, "rooms": 2, "rate": -1}, "below 0"),
        ({"users": 10, "rooms": 2, "rate": float("nan")}, "--rate"),
        ({"users": 10, "rooms": 2, "rate": 1, "size": 70_000}, "--size"),
        ({"users": 10, "rooms": 2, "rate": 1, "history": 1.5}, "--history"),
        ({"users": 10, "rooms": 2, "rate": 1, "compressed_to": 0}, "--compressed-to"),
        ({"users": 10, "rooms": 2, "rate": 1, "reconnects": -1}, "--reconnects"),
        ({"users": 10, "rooms": 2, "rate": 1, "history_size": 0}, "--history 0"),
        ({"users": 10, "rooms": 2, "rate": 1, "check_every": 0.0}, "--check-every"),
        ({"users": 10, "rooms": 2, "rate": 1, "history_ttl": float("inf")}, "--history-ttl"),
        ({"users": 10, "rooms": 2, "rate": 1, "devices": float("inf")}, "--devices"),
    ],
)
def test_a_load_that_makes_no_sense_is_named(words: dict[str, object], what: str) -> None:
    with pytest.raises(LoadError, match=what):
        Load.of(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(headroom=1.0), "--headroom"),
        (Limits(headroom=float("nan")), "--headroom"),
        (Limits(files=10), "--files"),
        (Limits(redis_bytes=0), "--redis-memory"),
        (Limits(network_bits=float("nan")), "--network"),
        (Limits(instances=0), "--instances"),
        (Limits(nodes=2_000), "--redis"),
    ],
)
def test_limits_that_make_no_sense_are_named(limits: Limits, what: str) -> None:
    with pytest.raises(LoadError, match=what):
        planned(limits, users=10, rooms=1, rate=1)


def test_the_clients_of_a_dead_instance_come_back_where_there_is_room() -> None:
    made = planned(users=200_000, rooms=20_000, rate=1_000)
    death = instance_dies(made)
    assert death.clients == made.usage.connections
    assert death.back_after is not None
    assert made.usage.instance < death.after < 1
    assert death.during <= 1
    assert instance_dies(planned(users=10, rooms=1, rate=1)).back_after is None


def test_clients_whose_coming_costs_nothing_are_back_as_soon_as_they_try() -> None:
    """By a file of costs in which noise has made a cost 0."""
    free = {"come_us": 0.0, "redis_come_us": 0.0, "redis_go_us": 0.0}
    things = ("connection", "user", "subscription", "presence")
    costs = msgspec.structs.replace(
        COSTS, **{name: msgspec.structs.replace(getattr(COSTS, name), **free) for name in things}
    )
    death = instance_dies(plan(Load.of(users=200_000, rooms=20_000, rate=1_000), costs, LIMITS))
    assert death.back_after == RETRY
    assert death.during == death.after


def test_a_plan_is_for_the_settings_that_an_installation_has() -> None:
    """Unless it is told others."""
    assert Load.of(users=1, rooms=1, rate=1).check_every == RealtimeConfig().position_check_interval
    assert RealtimeConfig().lease_ttl < LEASE
    assert RealtimeConfig().ping_interval < SILENT


def test_a_redis_holds_its_part() -> None:
    made = planned(Limits(nodes=4), users=20_000, rooms=2_000, rate=100)
    away = redis_dies(made)
    assert away.rooms == 500
    assert away.refused == 25
    assert away.compared >= away.rooms


def test_it_is_said_what_the_plan_hangs_on() -> None:
    made = planned(users=50_000, rooms=500, rate=400, reconnects=0)
    found = dict(hangs_on(made))
    assert found["rate"] > found["reconnects"] == 0
    assert [abs(share) for _, share in hangs_on(made)] == sorted(map(abs, found.values()), reverse=True)


def test_presence_history_and_compression_are_paid_for() -> None:
    load = Load.of(users=20_000, rooms=2_000, rate=400)
    full = usage(load, COSTS, 2, 1)
    bare = usage(replace(load, history=0.0, presence=False), COSTS, 2, 1)
    squeezed = usage(replace(load, compressed_to=0.6), COSTS, 2, 1)
    assert sum(bare.redis_memory.values()) < sum(full.redis_memory.values())
    assert bare.redis < full.redis
    assert squeezed.instance > full.instance
    assert squeezed.clients_out < full.clients_out
