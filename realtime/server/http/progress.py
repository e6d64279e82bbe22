"""Whether a client takes what waits for it, judged by looks at a transport now and then. Pure."""

MIN = 1024  # bytes a client takes in `within` seconds, at least


class Progress:
    """Remembers how much had been taken when something last moved."""

    __slots__ = ("_since", "_taken")

    def __init__(self) -> None:
        self._since = 0.0
        self._taken = 0

    def stalled(self, now: float, waiting: int, taken: int, within: float) -> bool:
        """Whether bytes wait and fewer than MIN were taken in the last `within` seconds."""
        if not waiting or not self._since or abs(taken - self._taken) >= MIN:
            self._since, self._taken = now, taken
            return False
        return now - self._since > within


class Rate:
    """Whether a body comes as fast as it must: so many bytes a second, over windows of WINDOW seconds."""

    __slots__ = ("_received", "_since")

    WINDOW = 10.0

    def __init__(self) -> None:
        self._since = 0.0
        self._received = 0

    def too_slow(self, now: float, received: int, least: int) -> bool:
        """To be asked while bytes are waited for; `reset` while they are not."""
        if not self._since:
            self._since, self._received = now, received
        if now - self._since < self.WINDOW:
            return False
        slow = received - self._received < least * (now - self._since)
        self._since, self._received = now, received
        return slow

    def reset(self) -> None:
        """Nothing is waited for now."""
        self._since = 0.0
