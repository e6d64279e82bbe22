"""A wall clock that is wrong by CLOCK_OFFSET seconds, for an instance whose machine never heard of NTP."""

import os
import time


def set_wrong() -> None:
    """Shift `time.time` and `time.time_ns` of this process; monotonic clocks are right on any machine."""
    offset = float(os.environ.get("CLOCK_OFFSET", "0"))
    if offset:
        right, right_ns = time.time, time.time_ns
        time.time = lambda: right() + offset
        time.time_ns = lambda: right_ns() + int(offset * 1e9)
