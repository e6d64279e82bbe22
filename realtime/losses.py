"""Publications that were given up because of Redis, after a commit or where their caller wants no error.

Each is counted by its reason. The log has the first of them by their channels, never by their data, and then how many
more there were. A publication that Redis did not answer in time may have been done all the same.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from flotilla.store import StoreRefused, StoreUnavailable
from flotilla.store.errors import StoreNotAsked, StoreSilent

logger = logging.getLogger("flotilla.publish")

REASONS = {StoreSilent: "silent", StoreNotAsked: "not_asked", StoreRefused: "refused", StoreUnavailable: "unreachable"}
LINES = 100  # in the log, in so many seconds
PERIOD = 10.0


class Losses:
    """Counts and tells losses. Any thread may call it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.by_reason: Counter[str] = Counter(dict.fromkeys(REASONS.values(), 0))
        self._clock = clock
        self._lock = threading.Lock()
        self._since = -PERIOD
        self._lines = 0
        self._untold = 0

    def note(self, channel: str, error: StoreUnavailable) -> None:
        """A publication into a channel is given up."""
        reason = next(name for kind, name in REASONS.items() if isinstance(error, kind))
        with self._lock:
            self.by_reason[reason] += 1
            if self._clock() >= self._since + PERIOD:
                self._since, self._lines = self._clock(), 0
            if self._lines >= LINES:
                self._untold += 1
                return
            self._lines += 1
            more, self._untold = self._untold, 0
        others = f", and {more} more before it" if more else ""
        logger.error(
            "a publication into %s is lost%s: %s", channel, others, error, extra={"channel": channel, "reason": reason}
        )


losses = Losses()
"""Those of this process."""
