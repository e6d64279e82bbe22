"""What this process's relays have done, by database: plain numbers, read from any thread by whoever asks.

How much waits is no relay's figure: it is looked up where it is (`outbox/backlog.py`), so that it is known also when
nobody relays.
"""

from dataclasses import dataclass, field

from flotilla.store.stats import Histogram

LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


@dataclass(slots=True)
class RelayStats:
    """One database's relay in this process, since it began.

    `holds`: it is the one that sends, of all the cluster's. `sent`: rows appended for the first time, `resent`:
    again, because Redis had lost them, `repeats`: not again, because Redis knew them from a relay that ended before it
    could note so. `set_aside`: given up after all attempts. `waits_for`: what a relay that cannot go on waits for, ""
    else. `lag`: seconds from writing (on PostgreSQL from the commit) to sending, of `sent`.
    """

    holds: bool = False
    sent: int = 0
    resent: int = 0
    repeats: int = 0
    set_aside: int = 0
    faults: int = 0
    """Rounds that failed because a database or a Redis was away."""
    waits_for: str = ""
    lag: Histogram = field(default_factory=lambda: Histogram(LAGS))


_stats: dict[str, RelayStats] = {}


def relay_stats() -> dict[str, RelayStats]:
    """Those of this process's relays, by the alias of their database; empty where it runs none."""
    return dict(_stats)


def stats_of(using: str) -> RelayStats:
    """Those of one database, made at the first call."""
    return _stats.setdefault(using, RelayStats())


def forget() -> None:
    """This process runs no relay any more."""
    _stats.clear()
