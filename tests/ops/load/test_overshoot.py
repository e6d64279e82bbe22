"""The arithmetic of proofs: it finds every excess of exact stamps, and never accuses a limit that held."""

from hypothesis import given
from hypothesis import strategies as st

from flotilla.ops.load.overshoot import overshoot
from flotilla.ratelimit.algorithms.rates import parse_rate

GCRA = parse_rate("10/s burst=5")
STRICT = parse_rate("10/s")
SECOND = 1_000_000


def at(*seconds: float) -> list[int]:
    return [round(second * SECOND) for second in seconds]


def test_a_burst_and_its_rate_are_no_excess() -> None:
    stamps = at(*[0] * 5, 0.1, 0.2, 0.3)
    assert overshoot(GCRA, stamps, stamps) == 0
    assert overshoot(GCRA, [], []) == 0


def test_one_too_many_is_found_wherever_it_is() -> None:
    early = at(*[0] * 6)
    late = at(0, 5, *[10] * 6)
    assert overshoot(GCRA, early, early) == 1
    assert overshoot(GCRA, late, late) == 1


def test_a_strict_window_is_closed() -> None:
    assert overshoot(STRICT, at(*[0] * 10, 1.000001), at(*[0] * 10, 1.000001)) == 0
    assert overshoot(STRICT, at(*[0] * 10, 1), at(*[0] * 10, 1)) == 1


def test_twice_the_rate_is_found_though_answers_take_their_time() -> None:
    asked = [index * SECOND // 20 for index in range(200)]
    answered = [moment + 80_000 for moment in asked]
    for rate in (GCRA, STRICT):
        assert overshoot(rate, asked, answered) > 5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(0, 40)), max_size=60), st.booleans())
def test_what_a_bucket_admitted_is_never_called_an_excess(steps: list[tuple[int, int, int]], strict: bool) -> None:
    """A bucket decides at exact moments; the client sees each within bounds that are wider by any amount."""
    rate = STRICT if strict else GCRA
    admitted: list[int] = []
    now = 0
    for gap, _, _ in steps:
        now += gap * 20_000
        if overshoot(rate, [*admitted, now], [*admitted, now]) == 0:
            admitted.append(now)
    moments = sorted(
        (moment - before * 1000, moment + after * 1000)
        for moment, (_, before, after) in zip(admitted, steps, strict=False)
    )
    assert overshoot(rate, [asked for asked, _ in moments], [answered for _, answered in moments]) == 0
