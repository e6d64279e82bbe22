"""Who reads this process's metrics regularly, and who of them has not had the last ones.

A process that ends waits a little for them: else nobody would see the end of a drain, nor that it was one.
"""

MAX_READERS = 64  # addresses that are remembered
MAX_PERIOD = 10.0  # seconds between two readings of somebody who is waited for
LATE = 1.5  # periods after a reading by which the next should have come
SLACK = 0.5  # seconds more, for the busy machine


class Readers:
    """Notes readings by the address they came from. Times in seconds of one clock; any thread may ask."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float | None]] = {}  # when, and how long after the one before

    def note(self, address: str, now: float) -> None:
        """Somebody has read."""
        before = self._last.pop(address, None)
        self._last[address] = (now, now - before[0] if before else None)
        while len(self._last) > MAX_READERS:
            del self._last[next(iter(self._last))]

    def expected(self, since: float, now: float) -> bool:
        """Whether somebody reads regularly, has not read after `since`, and is still to come."""
        return any(
            when < since and period is not None and period <= MAX_PERIOD and now < when + LATE * period + SLACK
            for when, period in list(self._last.values())
        )
