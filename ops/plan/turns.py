"""How often an event loop turns: alone each event wakes it, under load several are handled in one turn.

Events come independently of each other, `events` a second. An event that finds the loop idle begins a turn; those that
come during a turn are handled by the next one. So turns a second = events × (1 − busy) × e^(events × length of a turn).
"""

from collections.abc import Callable
from math import exp

LIGHT = 400.0  # turns a second at which the cost of a turn is measured
LEAST = 10.0  # as often a loop turns anyway


def cooled(count: float, cooling: float) -> float:
    """How many times what it costs at LIGHT a turn costs with so many a second: rare ones find caches cold."""
    return float((LIGHT / max(count, LEAST)) ** cooling)


def turns(events: float, busy: Callable[[float], float]) -> float:
    """Turns a second, at most `events`. `busy` says of so many turns which share of a core they take, with all that
    there is to do; it never falls with more of them. A loop that has too much to do turns as often as it can.
    """
    if events <= 0:
        return 0.0
    low, high = 0.0, events
    for _ in range(60):
        middle = (low + high) / 2
        share = busy(middle)
        grows = share < 1 and events * (1 - share) * exp(min(events * share / middle, 700.0)) > middle
        low, high = (middle, high) if grows else (low, middle)
    return high


def reached(members: float, places: float) -> float:
    """Over how many of so many places members of one room are spread, on average."""
    if places <= 1 or members <= 1:
        return min(1.0, members) if places >= 1 else places
    return float(places * (1 - (1 - 1 / places) ** members))
