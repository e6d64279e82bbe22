"""Buckets in memory forget what is full again, and nothing else; at the bound they err on the strict side."""

import pytest

from flotilla.ratelimit.limiter import Limiter
from flotilla.ratelimit.local import LocalBuckets
from flotilla.ratelimit.shares import Shares
from tests.ratelimit.conftest import claim

MANY = 10_000


class Clock:
    """A clock that goes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take(buckets: LocalBuckets, connection: str, times: int = 1, rate: str = "20/m burst=40") -> int:
    asked = claim(rate, "own", f"connection:{connection}", key="connection")
    return sum(buckets.take([asked])[0].allowed for _ in range(times))


@pytest.mark.parametrize("rate", ["20/h burst=40", "40/h"])
async def test_a_burst_is_not_forgotten_because_of_many_other_connections(limiter: Limiter, rate: str) -> None:
    async def admitted(connection: str, times: int) -> int:
        asked = claim(rate, "own", f"connection:{connection}", key="connection")
        return sum([(await limiter.decide([asked])).allowed for _ in range(times)])

    assert await admitted("first", 41) == 40
    for number in range(MANY):
        assert await admitted(f"other-{number}", 1) == 1
    assert await admitted("first", 40) == 0


async def test_what_redis_said_is_not_forgotten_because_of_many_other_keys(clock: Clock) -> None:
    shares = Shares(lambda: 1, clock)

    def admitted(user: str, times: int) -> int:
        asked = claim("20/h burst=40", identity=f"user:{user}", failure="local")
        return sum(shares.take([asked])[0].allowed for _ in range(times))

    assert admitted("first", 41) == 40
    for number in range(MANY):
        assert admitted(f"other-{number}", 1) == 1
    assert admitted("first", 40) == 0


@pytest.mark.parametrize("rate", ["20/m burst=40", "40/m"])
def test_memory_comes_back_when_buckets_are_full_again(clock: Clock, rate: str) -> None:
    buckets = LocalBuckets(clock, most=100)
    for number in range(100):
        take(buckets, f"a-{number}", 40, rate)
    clock.now += 121
    assert take(buckets, "new", 41, rate) == 40
    assert len(buckets._states) <= 100
    assert take(buckets, "a-7", 41, rate) == 40


def test_what_is_taken_from_several_buckets_at_once_is_taken_from_each(clock: Clock) -> None:
    buckets = LocalBuckets(clock)
    together = [claim("20/h burst=3", name, "connection:1", key="connection") for name in "abc"]
    assert sum(all(answer.allowed for answer in buckets.take(together)) for _ in range(5)) == 3
    assert [buckets.take([one])[0].allowed for one in together] == [False] * 3


def test_a_bucket_that_is_used_again_and_again_stays(clock: Clock) -> None:
    buckets = LocalBuckets(clock, most=10)
    for minute in range(20):
        clock.now += 60
        assert take(buckets, "steady", 60) == (40 if minute == 0 else 20)
        for number in range(30):
            take(buckets, f"{minute}-{number}")
        assert len(buckets._states) <= 10


@pytest.mark.parametrize("rate", ["20/h burst=40", "40/h"])
def test_beyond_the_bound_new_keys_share_one_bucket_and_the_known_keep_theirs(clock: Clock, rate: str) -> None:
    buckets = LocalBuckets(clock, most=10)
    for number in range(10):
        assert take(buckets, f"known-{number}", 30, rate) == 30
    assert sum(take(buckets, f"new-{number}", 1, rate) for number in range(200)) == 40
    assert len(buckets._states) == 10
    assert [take(buckets, f"known-{number}", 30, rate) for number in range(10)] == [10] * 10
    other = claim("20/h burst=40", "another-policy", "connection:x", key="connection")
    assert buckets.take([other])[0].allowed, "the policies' buckets are apart"


def test_who_comes_out_of_the_shared_bucket_has_no_second_burst(clock: Clock) -> None:
    buckets = LocalBuckets(clock, most=1)
    assert take(buckets, "known", 1, "60/m burst=40") == 1  # full again after a second
    assert take(buckets, "new", 41, "60/m burst=40") == 40
    clock.now += 2
    assert take(buckets, "new", 41, "60/m burst=40") == 2


def test_what_another_limit_denied_is_given_back_and_not_forgotten(clock: Clock) -> None:
    buckets = LocalBuckets(clock)
    asked = claim("20/h burst=40", "own", "connection:1", key="connection")
    for _ in range(40):
        (answer,) = buckets.take([asked])
    buckets.give_back([asked], [answer._replace(reset=0)])
    assert take(buckets, "2", 3000, "20/h burst=40") == 40
    assert take(buckets, "1", 5, "20/h burst=40") == 1
