"""The fullest second of the last minute."""

import random
from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.node.peak_rate import LASTS, WINDOW, PeakRate


def test_only_what_lies_within_one_second_counts_together() -> None:
    peak = PeakRate()
    for at in (10.0, 10.4, 10.9, 11.0, 11.5):
        peak.note(at)
    assert peak.most(11.5) == 3
    assert peak.total == 5


def test_a_peak_is_forgotten_after_a_minute_and_the_next_best_shown() -> None:
    peak = PeakRate()
    for at in (1.0, 1.1, 1.2, 30.0, 30.1):
        peak.note(at)
    assert peak.most(61.0) == 3
    assert peak.most(61.3) == 2
    assert peak.most(95.0) == 0


def test_nothing_happened() -> None:
    assert PeakRate().most(5.0) == 0


@given(st.lists(st.floats(0.0, 30.0), max_size=60), st.integers(0, 2**32))
def test_it_is_what_counting_every_window_gives(gaps: list[float], seed: int) -> None:
    """At any moment, also between events."""
    peak, now, events = PeakRate(), 0.0, []
    dice = random.Random(seed)
    for gap in gaps:
        now += gap * dice.choice((0.01, 0.1, 1.0))
        events.append(now)
        peak.note(now)
    later = now + dice.uniform(0, LASTS)
    windows = [bisect_right(events, end) - bisect_right(events, end - WINDOW) for end in events if end > later - LASTS]
    assert peak.most(later) == max(windows, default=0)
    assert peak.total == len(events)
