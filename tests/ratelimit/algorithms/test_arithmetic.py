"""Both kinds of rate against brute force: what they promise, whatever comes in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from flotilla.ratelimit.algorithms import gcra, window
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from tests.ratelimit.models import TokenBucket, gcra_overshoot, most_in_any

requests = st.lists(st.tuples(st.one_of(st.integers(0, 3), st.integers(0, 700_000)), st.integers(1, 3)), max_size=120)
"""(µs since the one before, cost)"""
gcra_rates = st.builds(Rate, st.integers(1, 300), st.integers(1, 3), st.integers(3, 40))
strict_rates = st.builds(Rate, st.integers(3, 40), st.integers(1, 2))
grained_rates = st.builds(Rate, st.integers(257, 400), st.just(1))


@given(gcra_rates, requests)
def test_gcra_admits_what_a_token_bucket_admits_and_never_more_than_b_plus_rt(
    rate: Rate, asked: list[tuple[int, int]]
) -> None:
    now, state, bucket, admitted = 1_000, 0, TokenBucket(rate), []
    for pause, cost in asked:
        now += pause
        answer, state = gcra.take(state, now * TICKS, cost, rate)
        assert answer.allowed == bucket.take(now * TICKS, cost)
        assert answer.remaining == bucket.level // rate.interval
        if answer.allowed:
            admitted.append((now, cost))
    assert gcra_overshoot(admitted, rate) == 0


@given(gcra_rates, requests, st.integers(1, 3))
def test_gcra_admits_at_the_time_it_named_and_not_a_microsecond_before(
    rate: Rate, asked: list[tuple[int, int]], cost: int
) -> None:
    now, state = 0, 0
    for pause, one in asked:
        now += pause
        _, state = gcra.take(state, now * TICKS, one, rate)
    answer, _ = gcra.take(state, now * TICKS, cost, rate)
    if not answer.allowed:
        assert gcra.take(state, (now + answer.retry_after) * TICKS, cost, rate)[0].allowed
        assert not gcra.take(state, (now + answer.retry_after - 1) * TICKS, cost, rate)[0].allowed
    again, _ = gcra.take(state, (now + answer.reset) * TICKS, rate.quota, rate)
    assert answer.allowed or again.allowed


@given(st.one_of(strict_rates, grained_rates), requests)
def test_strict_never_admits_more_than_its_count_in_any_window(rate: Rate, asked: list[tuple[int, int]]) -> None:
    now, log, admitted = 0, (), []
    for pause, cost in asked:
        now += pause
        answer, log = window.take(log, now, cost, rate)
        if answer.allowed:
            admitted.append((now, cost))
        assert len(log) <= 258
    assert most_in_any(admitted, rate.period_us) <= rate.count


@given(strict_rates, requests)
def test_strict_admits_whatever_keeps_the_promise(rate: Rate, asked: list[tuple[int, int]]) -> None:
    """Up to the exact size a request is denied only when admitting it would break the bound."""
    now, log, admitted = 0, (), []
    for pause, cost in asked:
        now += pause
        answer, log = window.take(log, now, cost, rate)
        inside = sum(c for at, c in admitted if at >= now - rate.period_us)
        assert answer.allowed == (inside + cost <= rate.count)
        assert answer.remaining == rate.count - inside - (cost if answer.allowed else 0)
        if answer.allowed:
            admitted.append((now, cost))


@given(st.one_of(strict_rates, grained_rates), requests, st.integers(1, 3))
def test_strict_admits_at_the_time_it_named(rate: Rate, asked: list[tuple[int, int]], cost: int) -> None:
    now, log = 0, ()
    for pause, one in asked:
        now += pause
        _, log = window.take(log, now, one, rate)
    answer, _ = window.take(log, now, cost, rate)
    if not answer.allowed:
        assert window.take(log, now + answer.retry_after, cost, rate)[0].allowed
        assert not window.take(log, now + answer.retry_after - 1, cost, rate)[0].allowed


def test_a_greedy_client_of_a_large_strict_rate_gets_all_but_half_a_percent() -> None:
    rate, now, log, taken = Rate(1000, 1), 0, (), 0
    while now < 100_000_000:
        answer, log = window.take(log, now, 1, rate)
        if answer.allowed:
            taken += 1
        else:
            now += answer.retry_after
    assert taken >= 0.995 * 100 * 1000


@given(st.one_of(gcra_rates, strict_rates), st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_clock_that_was_set_back_costs_no_more_than_one_full_bucket(rate: Rate, now: int, back: int) -> None:
    now += back
    if rate.strict:
        _, log = window.take((), now, rate.quota, rate)
        answer, _ = window.take(log, now - back, 1, rate)
        assert answer.retry_after <= rate.period_us + 1
    else:
        _, state = gcra.take(0, now * TICKS, rate.quota, rate)
        answer, _ = gcra.take(state, (now - back) * TICKS, rate.quota, rate)
        assert answer.retry_after <= -(-rate.interval * rate.quota // TICKS)


@given(gcra_rates, strict_rates, requests)
def test_what_is_given_back_was_never_taken(bucket: Rate, strict: Rate, asked: list[tuple[int, int]]) -> None:
    now, state, log = 10**7, 0, ()
    for pause, cost in asked:
        now += pause
        before = window.take(log, now, 1, strict)[0].remaining, gcra.take(state, now * TICKS, 1, bucket)[0].remaining
        answer, after = window.take(log, now, cost, strict)
        log = window.give_back(after, cost) if answer.allowed else log
        answer, paid = gcra.take(state, now * TICKS, cost, bucket)
        state = gcra.give_back(paid, cost, bucket) if answer.allowed else state
        assert before == (
            window.take(log, now, 1, strict)[0].remaining,
            gcra.take(state, now * TICKS, 1, bucket)[0].remaining,
        )
