"""From experiments to costs: an instance whose costs are known is measured in thought, and they are found again."""

import pytest

from flotilla.ops.plan.costs import Source
from flotilla.ops.plan.turns import cooled
from tests.bench.costs import derive
from tests.bench.costs.experiments import LARGE, LIGHT, OTHERS, RARE, ROOM, SMALL
from tests.bench.costs.scales import Used
from tests.bench.costs.validation import SIZES, Compared, compared, predicted, table

WAKE, HEARD, DELIVERY, JOINED, TAKEN, ITSELF = 80.0, 9.0, 5.0, 0.2, 40.0, 10_000.0
REDIS_WAKE, PUBLISHED, LISTENER, WRITE, REDIS_ITSELF = 70.0, 18.0, 0.3, 3.0, 2_000.0
SOURCE = Source(machine="a machine", redis="Redis 7", command="a test", day="2026-11-29", rounds=1)


def used(seconds: float, instance: float = 0.0, redis: float = 0.0, **more: float) -> Used:
    """What is measured for one: with what the instance and Redis use by themselves in that time."""
    return Used(seconds, instance + ITSELF * seconds, redis + REDIS_ITSELF * seconds, **more)


def published(recipients: int, light: bool) -> float:
    each = REDIS_WAKE + recipients * WRITE if light else 0.0
    return PUBLISHED + recipients * LISTENER + each


def measured() -> dict[str, Used]:
    """The figures of all experiments, of an instance with the costs above."""
    found = {
        "alone": Used(1.0, ITSELF, REDIS_ITSELF, 80e6, 2e6, commands=100.0),
        "Redis alone": Used(1.0, redis_cpu=1_500.0),
        "check": used(0.01, 50.0, 20.0),
        "stream": used(0.01, redis_bytes=5_000.0),
        "kept: small": used(0.001, redis_bytes=100.0 + 1.1 * SMALL),
        "kept: large": used(0.001, redis_bytes=100.0 + 1.1 * LARGE),
        "visitor: stay": used(0.0005, 2.0),
    }
    for name, more in (
        ("visitor", 0),
        ("user", 90),
        ("9 subscriptions", 8 * 20),
        ("present", 30),
        ("own channel", 200),
    ):
        found[f"{name}: come"] = used(0.003, 400.0 + more, 50.0 + more / 10, instance_bytes=3_000.0 + more)
        found[f"{name}: go"] = used(0.001, 100.0, 20.0)
    for size, about in ((SMALL, ""), (LARGE, ", large")):
        for count in (1, ROOM):
            one = HEARD + count * DELIVERY
            found[f"to {count}, light{about}"] = used(0.0025, WAKE + one, published(1, True))
            found[f"to {count}, flood{about}"] = used(0.0001, HEARD + count * JOINED, published(1, False))
            found[f"to {count}, light{about}: client"] = Used(seconds=size + 60.0)
    found["taken, rare"] = used(0.02, TAKEN + HEARD + DELIVERY + 2.5 * WAKE, published(1, True))
    for light, name in ((True, "light"), (False, "flood")):
        found[f"to 1 and {OTHERS}, {name}"] = used(0.001, 0.0, published(1 + OTHERS, light))
        for about in ("", ", nothing kept"):
            wakes = 2.5 * WAKE if light else 0.0
            found[f"taken, {name}{about}"] = used(0.001, TAKEN + HEARD + DELIVERY + wakes, published(1, light))
    return found


def test_known_costs_are_found_again() -> None:
    made = derive.costs(measured(), SOURCE, 7.0, 300.0)
    instance, redis = made.instance, made.redis
    assert instance.wake_us == pytest.approx(WAKE, rel=0.02)
    assert instance.heard_us == pytest.approx(HEARD, rel=0.02)
    assert instance.delivery_us == pytest.approx(DELIVERY, rel=0.01)
    assert instance.joined_us == pytest.approx(JOINED, rel=0.01)
    assert instance.taken_us == pytest.approx(TAKEN, rel=0.01)
    assert instance.taken_wakes == pytest.approx(2.5, rel=0.02)
    assert (instance.base_us, instance.stay_us, instance.check_us) == (ITSELF, 2.0, 50.0)
    assert redis.published_us == pytest.approx(PUBLISHED, rel=0.01)
    assert redis.listener_us == pytest.approx(LISTENER, rel=0.01)
    assert redis.write_us == pytest.approx(WRITE, rel=0.01)
    assert redis.wake_us == pytest.approx(REDIS_WAKE, rel=0.01)
    assert (redis.base_us, redis.instance_us) == (1_500.0, 500.0)
    assert redis.kept_byte_bytes == pytest.approx(1.1)
    assert redis.kept_bytes == pytest.approx(100.0)
    assert made.connection.come_us == pytest.approx(400.0)
    assert made.user.come_us == pytest.approx(90.0)
    assert made.subscription.come_us == pytest.approx(20.0)
    assert made.channel.held_bytes == pytest.approx(200.0)
    assert made.frame_bytes == pytest.approx(60.0)


def test_rarer_turns_are_dearer() -> None:
    found, cooling = measured(), 0.35
    for name, rate in (("taken, light", LIGHT), ("taken, rare", RARE)):
        dearer = cooled(2.5 * rate, cooling)
        found[name].instance_cpu += 2.5 * WAKE * (dearer - 1)
        found[name].redis_cpu += REDIS_WAKE * (cooled(rate, cooling) - 1)
    made = derive.costs(found, SOURCE, 7.0, 300.0)
    assert made.instance.cooling == pytest.approx(cooling, rel=0.02)
    assert made.instance.taken_wakes == pytest.approx(2.5, rel=0.05)
    assert made.redis.cooling == pytest.approx(cooling, rel=0.02)
    assert made.redis.wake_us == pytest.approx(REDIS_WAKE, rel=0.01)


def test_what_noise_makes_negative_is_nothing() -> None:
    found = measured()
    found["present: come"] = used(0.003, 100.0)
    assert derive.costs(found, SOURCE, 7.0, 300.0).presence.come_us == 0


def test_the_median_of_rounds_counts() -> None:
    rounds = [{"alone": Used(1.0, cpu)} for cpu in (1.0, 50.0, 3.0)]
    assert derive.middle(rounds)["alone"].instance_cpu == 3.0


def test_runs_are_compared_with_what_the_model_says() -> None:
    made = derive.costs(measured(), SOURCE, 7.0, 300.0)
    one = SIZES[0]
    said = predicted(one, made)
    rows = list(compared({one.name: [{name: value / 1.25 for name, value in said.items()}]}, made))
    assert [row.what for row in rows] == list(said)
    assert all(row.off == pytest.approx(0.25) for row in rows)
    assert "| small | instance CPU |" in table(rows)
    assert Compared("small", "CPU", 1.0, 0.0).off == float("inf")


def test_rounds_may_have_measured_some_alone() -> None:
    """As with `--only`, whose rounds are kept beside whole ones."""
    rounds = [{"alone": Used(1.0, 1.0)}, {"rare": Used(1.0, 5.0)}, {"alone": Used(1.0, 2.0), "rare": Used(1.0, 7.0)}]
    found = derive.middle(rounds)
    assert (found["alone"].instance_cpu, found["rare"].instance_cpu) == (1.5, 6.0)
