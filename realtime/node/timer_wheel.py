"""Timers of all connections: each has one next deadline at most, and is served in steps of a quarter of a second.

A timer of the event loop for each connection would cost memory and a heap entry each; no deadline of a connection needs
to be more exact.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("flotilla.realtime.timers")

STEP = 0.25  # seconds
LATE = 1.0  # seconds; a step that is later by this shows that the process was stuck
RETRY_AFTER = 10.0  # seconds until an item is served again that raised


class Timed(Protocol):
    """Something with a deadline. `on_time` returns the next, in loop time, or None for none; `slot` is the wheel's."""

    slot: int

    def on_time(self, now: float) -> float | None: ...


class TimerWheel:
    """Call `set` to move an item's deadline; `turn` runs by itself from `start` to `stop`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: dict[int, set[Timed]] = {}
        self._last = int(clock() / STEP)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to turn in the running event loop."""
        self._last = int(self._clock() / STEP)
        self._timer = asyncio.get_running_loop().call_later(STEP, self._tick)

    def stop(self) -> None:
        """Stop turning."""
        if self._timer is not None:
            self._timer.cancel()

    def set(self, item: Timed, when: float | None) -> None:
        """Move an item's deadline to `when` (loop time); None removes it."""
        if item.slot:
            items = self._slots.get(item.slot)
            if items is not None:
                items.discard(item)
                if not items:
                    del self._slots[item.slot]
            item.slot = 0
        if when is not None:
            item.slot = max(int(when / STEP) + 1, self._last + 1)
            self._slots.setdefault(item.slot, set()).add(item)

    def turn(self) -> None:
        """Serve every deadline that has passed."""
        now = self._clock()
        current = int(now / STEP)
        for slot in range(self._last + 1, current + 1):
            self._last = slot  # a deadline in the past is put into the next slot, not into one that was served
            for item in self._slots.pop(slot, ()):
                item.slot = 0
                self.set(item, self._serve(item, now))
        self._last = current

    @staticmethod
    def _serve(item: Timed, now: float) -> float | None:
        """Serve one item; if it raises, the others are served all the same."""
        try:
            return item.on_time(now)
        except Exception:
            logger.exception("a deadline could not be served")
            return now + RETRY_AFTER

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STEP, self._tick)
        if self._clock() > (self._last + 1) * STEP + LATE:
            # This process was stopped or stuck. What its clients sent meanwhile is still unread, and none of them must
            # be ended as silent before it is read: all deadlines are put off by as long.
            self._postpone()
        else:
            self.turn()

    def _postpone(self) -> None:
        behind = int(self._clock() / STEP) - self._last
        self._slots = {slot + behind: items for slot, items in self._slots.items()}
        for slot, items in self._slots.items():
            for item in items:
                item.slot = slot
        self._last += behind
