"""Whether what was admitted is what a rate promises: pure arithmetic on the moments of decisions, for proofs.

A moment may be known exactly (Redis's stamp) or only to lie between two (asked, answered): then the result is a lower
bound, and never accuses a limit that held. Moments are whole microseconds; all arithmetic is exact.
"""

from collections.abc import Sequence

from flotilla.ratelimit.algorithms.rates import Rate


def overshoot(rate: Rate, earliest: Sequence[int], latest: Sequence[int]) -> int:
    """By how many the worst stretch of time exceeds what it may have, 0 when none does.

    `earliest` ascends; `latest[i]` belongs to `earliest[i]`. For a stamp that is exact both are the same.
    """
    until: list[int] = []
    for moment in latest:
        until.append(max(moment, until[-1]) if until else moment)
    excess = _strict(rate, earliest, until) if rate.strict else _gcra(rate, earliest, until)
    return max(0, excess)


def _gcra(rate: Rate, since: Sequence[int], until: Sequence[int]) -> int:
    """The largest of (j - i + 1) - B - r·(until_j - since_i) over all i ≤ j, in whole requests."""
    worst, best = 0, None
    for index, (start, end) in enumerate(zip(since, until, strict=True)):
        begun = start * rate.count - index * rate.period_us
        best = begun if best is None else max(best, begun)
        excess = (index + 1) * rate.period_us - end * rate.count + best - rate.quota * rate.period_us
        worst = max(worst, -(-excess // rate.period_us))
    return worst


def _strict(rate: Rate, since: Sequence[int], until: Sequence[int]) -> int:
    """The most in any closed window of the period, less the count."""
    worst, first = 0, 0
    for last, end in enumerate(until):
        while since[first] < end - rate.period_us:
            first += 1
            if first > last:
                break
        worst = max(worst, last - first + 1)
    return worst - rate.count
