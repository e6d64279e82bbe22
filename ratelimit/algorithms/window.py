"""The strict limit, pure: never more than the count in any time as long as the period, whenever the requests come.

A key's state is the log of what was admitted, oldest first. Up to `rates.EXACT_UP_TO` every request has an entry. For
larger counts an entry stands for all requests in a grain of time (1/256 of the period), and counts until the last of
them need not count any more; so a request counts for up to one grain longer than it must, and never shorter. Times are
microseconds of any one clock. `lua/take.lua` does the same on Redis's clock.
"""

from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import Rate

Log = tuple[tuple[int, int], ...]
"""(first moment, how many), ascending."""


def take(log: Log, now: int, cost: int, rate: Rate) -> tuple[Answer, Log]:
    """What a request of `cost` gets at `now`, and the key's next state, which is the old one when it is denied."""
    lasts, old = rate.grain + rate.period_us, log
    if log and log[-1][0] > now:  # the clock was set back: so is the log
        shift = log[-1][0] - now
        log = tuple((start - shift, count) for start, count in log)
    live = tuple(entry for entry in log if entry[0] + lasts >= now)
    total = sum(count for _, count in live)
    if total + cost > rate.count:
        return Answer(
            False, rate.count - total, _retry_after(live, now, total + cost, rate), _reset(live, now, lasts)
        ), old
    if live and (now < live[-1][0] + rate.grain or now == live[-1][0]):
        live = (*live[:-1], (live[-1][0], live[-1][1] + cost))
    else:
        live = (*live, (now, cost))
    return Answer(True, rate.count - total - cost, 0, _reset(live, now, lasts)), live


def give_back(log: Log, cost: int) -> Log:
    """The state without a request that was admitted last and did not happen."""
    while log and cost >= log[-1][1]:
        cost -= log[-1][1]
        log = log[:-1]
    return (*log[:-1], (log[-1][0], log[-1][1] - cost)) if log and cost else log


def _retry_after(live: Log, now: int, wanted: int, rate: Rate) -> int:
    for start, count in live:
        wanted -= count
        if wanted <= rate.count:
            return start + rate.grain + rate.period_us + 1 - now
    return rate.period_us  # a cost above the whole count, which policies refuse


def _reset(live: Log, now: int, lasts: int) -> int:
    return live[-1][0] + lasts + 1 - now if live else 0
