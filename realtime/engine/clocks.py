"""How this process's clock stands to each Redis's, so that ages are told in one clock: Redis's own.

Publications are stamped in Redis, where they get their offset; hosts need no common time. Each exchange (ask TIME, note
when) bounds the difference by its own round trip; the narrowest of the last few is believed. Local times are monotonic,
so a clock that is set does not matter here, and one set on Redis's host is noticed within the window.
"""

from collections import deque

WINDOW = 10  # exchanges that are remembered, one a second


class RedisClocks:
    """One Redis after another, by shard index. Times in seconds, Redis's since 1970, ours monotonic."""

    def __init__(self, shards: int) -> None:
        self._exchanges: list[deque[tuple[float, float]]] = [deque(maxlen=WINDOW) for _ in range(shards)]
        self.ahead: list[float | None] = [None] * shards  # how much more each Redis's clock shows

    def note(self, shard: int, asked: float, theirs: float, answered: float) -> None:
        """Redis said `theirs` between two moments of ours."""
        known = self._exchanges[shard]
        known.append((answered - asked, theirs - (asked + answered) / 2))
        self.ahead[shard] = min(known)[1]

    def forget(self, shard: int) -> None:
        """Another Redis may answer from now on."""
        self._exchanges[shard].clear()
        self.ahead[shard] = None

    def ours(self, shard: int, theirs: float) -> float | None:
        """A moment of Redis's in our own clock; None before the first exchange."""
        ahead = self.ahead[shard]
        return None if ahead is None else theirs - ahead
