"""The most events within any second, over the last minute: what an average over a scrape's interval hides.

Exact: of all seconds the fullest is one that ends with an event. An event costs a few operations. Written in the event
loop, read from any thread.
"""

from collections import deque

WINDOW = 1.0  # seconds in which events are counted together
LASTS = 60.0  # seconds a full window is remembered


class PeakRate:
    """Counts events; `note` is given their times in seconds, never decreasing."""

    def __init__(self) -> None:
        self.total = 0
        self._recent: deque[float] = deque()
        self._tops: deque[tuple[float, int]] = deque()  # windows by their end, each fuller than all that follow

    def note(self, now: float) -> None:
        """Count one event."""
        self.total += 1
        self._recent.append(now)
        while self._recent[0] <= now - WINDOW:
            self._recent.popleft()
        count = len(self._recent)
        while self._tops and self._tops[-1][1] <= count:
            self._tops.pop()
        self._tops.append((now, count))
        while self._tops[0][0] <= now - LASTS:
            self._tops.popleft()

    def most(self, now: float) -> int:
        """The fullest second of the last minute."""
        return next((count for ended, count in list(self._tops) if ended > now - LASTS), 0)
