"""How much may wait at a socket: about half a second's worth of what its client takes."""

from flotilla.realtime.engine.pace import MIN, Pace

MAX = 512 * 1024
STEP = 0.02


def run(pace: Pace, rate: float, seconds: float, delay: float = 0.0) -> float:
    """A client that takes `rate` bytes a second, `delay` seconds after they were written; returns the longest time
    that what waits would have taken."""
    now, waiting, longest = 0.0, 0.0, 0.0
    underway: list[tuple[float, float]] = []  # (when it is acknowledged, how much)
    while now < seconds:
        now += STEP
        while underway and underway[0][0] <= now:
            waiting -= underway.pop(0)[1]
        room = pace.look(int(waiting), now)
        pace.wrote(room)
        waiting += room
        queued = waiting - sum(size for _, size in underway)
        taken = min(queued, rate * STEP)
        if taken:
            underway.append((now + delay, taken))
        longest = max(longest, waiting / rate)
    return longest


def test_a_slow_client_has_little_waiting() -> None:
    """The least, so that a reply behind it is there in less time than SDKs wait."""
    for rate in (20_000, 80_000):
        pace = Pace(0.0, MAX)
        assert run(pace, rate, 10) <= 2.0
        assert MIN <= pace.window <= max(MIN, rate)


def test_a_far_but_fast_client_is_kept_busy() -> None:
    """What it takes is found out step by step: a long way does not make it slow."""
    pace = Pace(0.0, MAX)
    run(pace, 2_000_000, 5, delay=0.2)
    assert pace.window == MAX


def test_it_never_lets_more_wait_than_it_may() -> None:
    """However fast the client is."""
    pace = Pace(0.0, 10_000)
    assert pace.look(0, 0.0) == 10_000
    run(pace, 1e8, 3)
    assert pace.window == 10_000


def test_who_takes_nothing_is_stalled() -> None:
    """Counted from the last byte that was taken."""
    pace = Pace(0.0, MAX)
    pace.wrote(pace.look(0, 0.0))
    pace.wrote(pace.look(MIN // 2, 1.0))
    for now in range(2, 12):
        assert pace.look(MIN, float(now)) == 0
    assert pace.stalled(11.0) == 10.0
    pace.look(MIN - 1, 12.0)
    assert pace.stalled(12.0) == 0.0
