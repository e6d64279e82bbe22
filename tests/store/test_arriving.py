"""The script by which a process compares what it knows with a run of Redis, where runs come back."""

import secrets
from typing import Any

from flotilla.store.partitions import ARRIVE
from tests.store.redis_process import RedisProcess

WAIT = 60_000  # ms for the votes


class Partition:
    """One partition of a Redis, and who compares with it."""

    def __init__(self, redis_process: RedisProcess) -> None:
        self._redis = redis_process
        self.key = f"partition:{{{secrets.token_hex(4)}}}"

    def arrive(
        self, run: str, generation: bytes = b"", heard: int = 0, me: str = "", *living: str
    ) -> tuple[bytes, bool]:
        """Compare; gives the generation, and whether it is in doubt."""
        keys = (self.key, f"{self.key}:votes")
        known = (generation, heard, "a" if generation else "")
        said: list[Any] = self._redis.ask(
            "EVAL", ARRIVE.text, 2, *keys, run, secrets.token_hex(4), *known, me, WAIT, "", *living
        )
        return said[0], bool(said[2])

    @property
    def doubted(self) -> bytes | None:
        """The run that is in doubt."""
        found: bytes | None = self._redis.ask("HGET", self.key, "d")
        return found


def test_a_run_that_comes_back_after_another_was_in_doubt_is_compared_anew(redis_process: RedisProcess) -> None:
    """A slot that moved to another node and back, or a failover that was reverted, leaves no doubt for ever."""
    partition = Partition(redis_process)
    generation, _ = partition.arrive("a")
    living = ("one", "two")
    assert partition.arrive("b", generation, 0, "one", *living) == (generation, True)
    assert partition.arrive("a", generation, 0, "one", *living) == (generation, True)
    assert partition.arrive("a", generation, 0, "two", *living) == (generation, False)
    assert partition.doubted is None


def test_a_run_that_comes_back_with_less_than_was_heard_is_another_generation(redis_process: RedisProcess) -> None:
    partition = Partition(redis_process)
    generation, _ = partition.arrive("a")
    partition.arrive("b", generation, 0, "one", "one", "two")
    after, doubted = partition.arrive("a", generation, 5, "two", "one", "two")
    assert after != generation and not doubted and partition.doubted is None
