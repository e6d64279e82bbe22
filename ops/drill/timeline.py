"""What happened in a drill and when, told while it happens."""

import time
from collections.abc import Callable
from typing import Any

from flotilla.ops.drill.processes import wait_for

Say = Callable[[str], None]


class Timeline:
    """Seconds count from the fault. `steps` keeps what was said."""

    def __init__(self, name: str, say: Say) -> None:
        self.name = name
        self.steps: list[tuple[float, str]] = []
        self._say = say
        self._began = time.monotonic()

    @property
    def began(self) -> float:
        """When the fault was made (monotonic)."""
        return self._began

    def begin(self, fault: str) -> None:
        """The fault is made now."""
        self._began = time.monotonic()
        self.note(f"fault: {fault}")

    def note(self, what: str, at: float | None = None) -> float:
        """Something happened, now or at a moment of the monotonic clock; returns the seconds since the fault."""
        seconds = (time.monotonic() if at is None else at) - self._began
        self.steps.append((seconds, what))
        self._say(f"  {self.name:<16} {seconds:7.1f} s  {what}")
        return seconds

    def wait(self, condition: Callable[[], Any], what: str, within: float) -> float:
        """Wait for something and note it. Raises DrillFailed."""
        found = wait_for(condition, f"{self.name}: {what}", within)
        return self.note(what, found if isinstance(found, float) else None)
