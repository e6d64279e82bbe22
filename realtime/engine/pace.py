"""The pace of a client: how fast it takes what it is sent, measured by what waits at its socket. Pure, given the time.

What may wait is as much as the client took lately in half a second: enough to use a fast link to a distant client, and
little enough that a ping or a reply behind it comes in time over a slow link. A client that takes nothing is *stalled*.
"""

MIN = 32 * 1024  # bytes that may wait, however slow the client is
AHEAD = 0.5  # seconds' worth of what it takes
MEASURED_OVER = 0.25  # seconds


class Pace:
    """Call `look` with the bytes that wait, `wrote` with those added; `window` is how many may wait."""

    __slots__ = ("_full", "_max", "_measured_at", "_moved_at", "_taken", "_waiting", "window")

    def __init__(self, now: float, max_window: int) -> None:
        self.window = min(MIN, max_window)
        self._max = max_window
        self._waiting = 0  # at the last look, and what was written since
        self._taken = 0
        self._full = False  # since the last measurement, the window was full
        self._measured_at = now
        self._moved_at = now

    def look(self, waiting: int, now: float) -> int:
        """Note what waits now; returns how many bytes may follow."""
        taken = self._waiting - waiting
        room = self.window - waiting
        if taken > 0:
            self._taken += taken
        if taken > 0 or room > 0:
            self._moved_at = now
        self._waiting = waiting
        self._full = self._full or room <= 0
        if now - self._measured_at >= MEASURED_OVER:
            self._measure(now)
        return max(0, room)

    def wrote(self, size: int) -> None:
        """So many bytes were written since the last look."""
        self._waiting += size

    def stalled(self, now: float) -> float:
        """Seconds for which the client has taken nothing of what waits."""
        return now - self._moved_at

    def _measure(self, now: float) -> None:
        if self._full:  # else it was not the client that was slow
            rate = self._taken / (now - self._measured_at)
            self.window = max(min(MIN, self._max), min(self._max, int(rate * AHEAD)))
        self._taken, self._full, self._measured_at = 0, False, now
