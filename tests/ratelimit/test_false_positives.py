"""Who keeps within a limit is never denied, however the network shuffles what was sent."""

import random

import redis
from hypothesis import given
from hypothesis import strategies as st

from flotilla.ratelimit.algorithms import gcra
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from tests.ratelimit.test_script import EPOCH, WITH_CLOCK
from tests.store.redis_process import RedisProcess

JITTER = 50_000  # µs


@given(st.integers(1, 200), st.lists(st.integers(0, JITTER), min_size=2, max_size=100))
def test_a_client_at_exactly_its_rate_survives_any_jitter_the_burst_allows_for(count: int, delays: list[int]) -> None:
    """B ≥ 1 + 2·r·jitter, as the promise has it; the sending times are exact, the network adds up to the jitter."""
    rate = Rate(count, 1, 1 + -(-2 * count * JITTER // 1_000_000))
    arrivals = sorted(-(-number * 1_000_000 // count) + delay for number, delay in enumerate(delays))
    state = 0
    for at in arrivals:
        answer, state = gcra.take(state, at * TICKS, 1, rate)
        assert answer.allowed


def test_a_thousand_clients_within_their_limit_with_50_ms_of_jitter_see_no_denial(redis_process: RedisProcess) -> None:
    """20,000 requests through the script on a real Redis, at the times they would arrive."""
    rate, shuffled = Rate(10, 1, 2), random.Random(20_26)
    begin = (EPOCH + 100_000_000) * 1_000_000
    arrivals = sorted(
        (begin + client * 97 + number * 100_000 + shuffled.randint(0, JITTER), client)
        for client in range(1000)
        for number in range(20)
    )
    sha = redis_process.ask("SCRIPT", "LOAD", WITH_CLOCK)
    with redis.Redis(unix_socket_path=str(redis_process.socket)) as client, client.pipeline(transaction=False) as pipe:
        for at, number in arrivals:
            clock = divmod(at, 1_000_000)
            pipe.execute_command("EVALSHA", sha, 1, f"k{number}", 1, "g", 1, 0, rate.interval, rate.quota, 0, 0, *clock)
        answers = pipe.execute()
    assert sum(answer[1] == 0 for answer in answers) == 0
