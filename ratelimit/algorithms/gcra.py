"""The generic cell rate algorithm, pure: one number per key, the time up to which everything admitted is paid for.

In any time T at most burst + rate·T are admitted, exactly. A client that sends no faster than the rate, and never more
than the burst at once, is always admitted. Times are ticks (`rates.TICKS` a microsecond) of any one clock.
`lua/take.lua` does the same on Redis's clock.
"""

from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import TICKS, Rate


def take(paid_until: int, now: int, cost: int, rate: Rate) -> tuple[Answer, int]:
    """What a request of `cost` gets at `now`, and the key's next state, which is the old one when it is denied."""
    interval, burst = rate.interval, rate.quota
    full = interval * burst
    ahead = min(max(paid_until - now, 0), full)  # the upper bound is for a clock that was set back
    after = ahead + cost * interval
    if after > full:
        return Answer(False, (full - ahead) // interval, _us(after - full), _us(ahead)), paid_until
    return Answer(True, (full - after) // interval, 0, _us(after)), now + after


def give_back(paid_until: int, cost: int, rate: Rate) -> int:
    """The state without a request that was admitted and did not happen."""
    return paid_until - cost * rate.interval


def _us(ticks: int) -> int:
    return -(-ticks // TICKS)
