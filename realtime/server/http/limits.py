"""How much and how long: the bounds of the HTTP side, from the settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds. In the settings a time of 0 stands for no limit, which is `math.inf` here."""

    max_body: int = 10 * MEGABYTE
    max_body_paths: Sequence[tuple[str, int]] = ()  # (beginning of a path, bytes): the longest that fits counts
    response_within: float = 60.0  # seconds an application has until its response begins
    stalled_after: float = 60.0  # seconds in which a client takes less than 1 KB of what waits for it
    keep_alive: float = 60.0  # seconds a connection may be idle between two requests
    body_rate: int = 240  # bytes a second that a body must have at least, over 10 s; 0: any

    @classmethod
    def of(cls, settings: Any) -> "Limits":
        """What the settings say, and the defaults for what a project's own settings leave out."""
        default = cls()
        return cls(
            getattr(settings, "HTTP_MAX_BODY", default.max_body),
            sorted(getattr(settings, "HTTP_MAX_BODY_PATHS", ()), key=lambda pair: len(pair[0]), reverse=True),
            getattr(settings, "HTTP_TIMEOUT", default.response_within) or math.inf,
            getattr(settings, "HTTP_STALLED_AFTER", default.stalled_after) or math.inf,
            getattr(settings, "HTTP_KEEP_ALIVE", default.keep_alive),
            getattr(settings, "HTTP_LEAST_BODY_RATE", default.body_rate),
        )

    def max_body_at(self, path: str) -> int:
        """Bytes a body may have that is sent to a path (below the root path)."""
        for beginning, most in self.max_body_paths:
            if path.startswith(beginning):
                return most
        return self.max_body
