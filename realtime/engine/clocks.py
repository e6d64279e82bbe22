"""How far each Redis's clock is ahead of this process's, so that the age of a publication is measured in one clock.

Publications are stamped in Redis, where they get their offset, so hosts need no common time. Each exchange (ask for
TIME, note when) tells the difference to within its own round trip; of the last few, the shortest is used. Local times
are monotonic: to set this host's clock changes nothing, and a change of Redis's clock is noticed within the window.
"""

from collections import deque

WINDOW = 10  # exchanges that are remembered, one a second


class RedisClocks:
    """The clocks by shard index. Times in seconds: Redis's are Unix time, ours monotonic."""

    def __init__(self, shards: int) -> None:
        self._exchanges: list[deque[tuple[float, float]]] = [deque(maxlen=WINDOW) for _ in range(shards)]
        self.ahead: list[float | None] = [None] * shards  # how much more each Redis's clock says than ours

    def note(self, shard: int, asked: float, theirs: float, answered: float) -> None:
        """Redis said `theirs` between our times `asked` and `answered`."""
        known = self._exchanges[shard]
        known.append((answered - asked, theirs - (asked + answered) / 2))
        self.ahead[shard] = min(known)[1]

    def forget(self, shard: int) -> None:
        """From now on another Redis may answer for the shard."""
        self._exchanges[shard].clear()
        self.ahead[shard] = None

    def ours(self, shard: int, theirs: float) -> float | None:
        """A time of Redis's in our clock; None before the first exchange."""
        ahead = self.ahead[shard]
        return None if ahead is None else theirs - ahead
