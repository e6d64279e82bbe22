"""Rates as people write them: `"100/m"` is strict, `"100/m burst=20"` is GCRA. Each kind names what it promises.

Strict: never more than 100 in any minute. GCRA: at most B + r·T in any time T, here 20 + 100 a minute. Pure; the
arithmetic of each kind is in `window` and `gcra`.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

TICKS = 16
"""Ticks in a microsecond: GCRA counts in them, so that rates that do not divide a second lose almost nothing."""

EXACT_UP_TO = 256
"""Largest strict count whose log has an entry for every request; above it an entry stands for a grain of time."""

MAX_COUNT = 10**9  # in one period, and the largest burst
FASTEST = 100_000  # per second, of a GCRA rate: an interval must be many ticks
MAX_SECONDS = 31 * 86400  # seconds: a period, or the time in which a burst is earned back
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r"(\d{1,10})/(\d{0,7})([smhd])(?:\s+burst=(\d{1,10}))?", re.ASCII)
MEND = 'Write count/period with s, m, h or d, as "100/m" (strict) or "100/m burst=20" (GCRA), "5/30s", "1000/d".'


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` in each `period` (seconds); with a `burst` it is GCRA, without strict."""

    count: int
    period: int
    burst: int | None = None

    @property
    def strict(self) -> bool:
        """Whether the count itself is the bound in any window."""
        return self.burst is None

    @property
    def quota(self) -> int:
        """How many can be taken at once after a rest."""
        return self.count if self.burst is None else self.burst

    @property
    def period_us(self) -> int:
        """The period in microseconds."""
        return self.period * 1_000_000

    @property
    def interval(self) -> int:
        """GCRA: ticks in which one request is earned back, rounded up so that never more than the rate is admitted."""
        return -(-self.period_us * TICKS // self.count)

    @property
    def grain(self) -> int:
        """Strict: microseconds whose requests share an entry of the log; 0: each request has its own."""
        return 0 if self.count <= EXACT_UP_TO else -(-self.period_us // EXACT_UP_TO)

    def shared_among(self, instances: int) -> "Rate":
        """One instance's share, for when each must decide alone; at least one request and a burst of one."""
        return _shared_among(self, instances)

    def widened(self, times: int) -> "Rate":
        """The rate times `times`, with the burst, up to the largest that are allowed."""
        count = min(self.count * times, MAX_COUNT if self.strict else max(self.count, FASTEST * self.period))
        burst = None if self.burst is None else min(self.burst * times, MAX_COUNT)
        return replace(self, count=count, burst=burst)

    def __str__(self) -> str:
        unit, seconds = next((u, s) for u, s in reversed(_SECONDS.items()) if self.period % s == 0)
        multiple = self.period // seconds
        text = f"{self.count}/{multiple if multiple > 1 else ''}{unit}"
        return text if self.burst is None else f"{text} burst={self.burst}"


@lru_cache(maxsize=1024)
def _shared_among(rate: Rate, instances: int) -> Rate:
    least = max(1, rate.count // instances)
    return replace(rate, count=least, burst=None if rate.burst is None else max(1, rate.burst // instances))


def parse_rate(text: object, burst: int | None = None) -> Rate:
    """The rate in `text`; `burst` may be given apart. Raises ValueError with what is wrong (MEND: what to write)."""
    found = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is not a rate")
    count, multiple, unit, inner = found.groups()
    if inner is not None and burst is not None:
        raise ValueError("the burst is given twice")
    if inner is not None:
        burst = int(inner)
    rate = Rate(int(count), int(multiple or 1) * _SECONDS[unit], burst)
    if not (1 <= rate.count <= MAX_COUNT and 1 <= rate.period <= MAX_SECONDS and 1 <= rate.quota <= MAX_COUNT):
        raise ValueError(f"{text!r}: count and burst go from 1 to {MAX_COUNT}, the period from 1 second to 31 days")
    if rate.burst is not None:
        if rate.count > FASTEST * rate.period:
            raise ValueError(f"{text!r}: a rate with a burst goes up to {FASTEST} a second")
        if rate.burst * rate.period > MAX_SECONDS * rate.count:
            raise ValueError(f"{text!r}: such a burst would take more than 31 days to be full again")
    return rate
