import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.ratelimit.algorithms.rates import TICKS, Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/m", Rate(100, 60)),
        ("100/m burst=20", Rate(100, 60, 20)),
        (" 5/30s ", Rate(5, 30)),
        ("1000/d", Rate(1000, 86400)),
        ("3/h  burst=1", Rate(3, 3600, 1)),
    ],
)
def test_rates_are_read_as_people_write_them(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


def test_a_burst_given_apart_makes_it_gcra() -> None:
    assert parse_rate("20/s", 40) == Rate(20, 1, 40)


@pytest.mark.parametrize(
    "text",
    [
        *("", "100", "100/x", "0/m", "-1/s", "1.5/s", "100/m burst=0", "100/m burst", "100/0s", "1/32d", "m/100"),
        *("1000000000000/s", "200000/s burst=1", "1/d burst=1000", "1٠/s", 100, None),
    ],
)
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        parse_rate(text)


def test_two_bursts_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_rate("1/s burst=2", 3)


rates = st.builds(Rate, st.integers(1, 10_000), st.integers(1, 600), st.one_of(st.none(), st.integers(1, 1000)))


@given(rates)
def test_a_rate_is_written_as_it_is_read(rate: Rate) -> None:
    assert parse_rate(str(rate)) == rate


@given(rates)
def test_the_interval_is_never_shorter_than_the_rate_allows(rate: Rate) -> None:
    assert rate.interval * rate.count >= rate.period_us * TICKS > (rate.interval - 1) * rate.count


@given(rates, st.integers(1, 8))
def test_shares_add_up_to_no_more_than_the_whole_but_for_the_one_each_needs(rate: Rate, instances: int) -> None:
    share = rate.shared_among(instances)
    assert share.count * instances <= max(rate.count, instances)
    assert share.quota * instances <= max(rate.quota, instances)
