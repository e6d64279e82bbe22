"""Whether a Redis still has what it answered: generations of partitions, and what this process knows of them.

A run is one process of Redis. It begins with what was saved, which may be older than what the run before it answered.
So every process remembers the generation of each partition and the highest count of publications that it has heard of,
and sends both over each new connection before anything else (`lua/arrive.lua`). A run that is not trusted yet is in
doubt: scripts that need the partition answer DOUBT, and the calls are held until the doubt is over (`link`). Instances
have a vote in this; other processes (workers, management commands) only compare.

Pure bookkeeping, used by coroutines and threads; nothing here waits or talks to Redis.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from flotilla.store.conf import get_store_config
from flotilla.store.errors import StoreUnavailable, reading
from flotilla.store.fitness import require_fit
from flotilla.store.placement import Placement, partition_placement, partitions_of
from flotilla.store.scripts import Script

logger = logging.getLogger("flotilla.store.partitions")

ARRIVE = Script.load("flotilla.store", "arrive")
REST = Script.load("flotilla.store", "rest")

VOTES_WITHIN = 3.0  # seconds that the living instances have to compare
DOUBT = "DOUBT"  # first word of the error by which a script says that the partition is in doubt

Command = tuple[Any, ...]


class Witness(NamedTuple):
    """An instance, and all that it knows to be alive, with itself. `name` is "" for a process that is no instance."""

    name: str = ""
    living: Collection[str] = ()


class Partition:
    """One partition as this process knows it: `count` is the highest that was heard in `generation`, during `run`."""

    __slots__ = ("_begin", "count", "generation", "run")

    def __init__(self) -> None:
        self.generation = ""
        self.count = 0
        self.run = ""
        self._begin = "?"  # how its epochs begin; no epoch begins with `?`

    def note(self, epoch: str, count: int) -> None:
        """A publication was heard. One of another generation does not count until Redis itself has told of that
        generation: the message may be an old one."""
        if count > self.count and epoch.startswith(self._begin):
            self.count = count

    def compared(self, run: str, generation: str) -> None:
        """What was heard so far was compared with this run: what is heard from now on comes from it."""
        if generation == self.generation:
            self.run = run

    def learn(self, run: str, generation: str, count: int) -> bool:
        """Redis, in a run that is trusted, said the generation and the count. True when the generation has changed."""
        changed = self.generation not in ("", generation)
        if generation != self.generation:
            self.generation, self.count, self._begin = generation, count, f"{generation}."
        elif count > self.count:
            self.count = count
        self.run = run
        return changed


class Partitions:
    """The partitions of one Redis, or of a cluster's virtual `shard` of so many `shards`. `doubted`: those in doubt,
    because the run is not trusted for them yet."""

    scripts = (ARRIVE, REST)

    def __init__(self, durable: bool | None = None, shard: int = 0, shards: int = 0) -> None:
        self.all = [Partition() for _ in range(partitions_of(shards))]
        self._shard = (shard, shards)
        self.doubted: set[int] = set()
        self.run = ""
        self.changes = 0  # of generations that this process saw: each means that something was lost
        self.witness: Callable[[], Witness] = Witness
        self._durable = durable

    def __getitem__(self, number: int) -> Partition:
        return self.all[number]

    def placements(self) -> list[Placement]:
        """The place of each partition itself."""
        return [partition_placement(number, *self._shard) for number in range(len(self.all))]

    def _key(self, kind: str, number: int) -> str:
        return partition_placement(number, *self._shard).partition_key(kind)

    def run_of(self, info: bytes) -> str:
        """The run of Redis, from its answer to INFO server. Raises StoreUnavailable where it does not say, and
        StoreRefused for a server that cannot be used."""
        require_fit(info, of_cluster=bool(self._shard[1]))
        for line in info.split(b"\n"):
            name, _, value = line.strip().partition(b":")
            if name == b"run_id":
                return value.decode()
        raise StoreUnavailable("Redis does not say its run_id, which Flotilla needs")

    def questions(self, run: str, numbers: Iterable[int]) -> list[Command]:
        """The calls that compare these partitions with a run of Redis."""
        witness = self.witness()
        durable = get_store_config().redis_durable if self._durable is None else self._durable
        rest = (witness.name, int(VOTES_WITHIN * 1000), int(durable), *witness.living)
        found = []
        for number in numbers:
            known = self.all[number]
            keys = (self._key("partition", number), self._key("votes", number))
            about = (run, secrets.token_urlsafe(4), known.generation, known.count, known.run)
            found.append(("EVALSHA", ARRIVE.sha, len(keys), *keys, *about, *rest))
        return found

    def answered(self, run: str, numbers: Iterable[int], answers: Sequence[Sequence[Any]]) -> None:
        """What Redis said to `questions`."""
        self.run = run
        with reading("what was compared"):
            found = [
                (number, generation.decode(), int(count), bool(doubt))
                for number, (generation, count, doubt) in zip(numbers, answers, strict=True)
            ]
        for number, generation, _, doubt in found:
            if doubt:
                self.doubted.add(number)
                self.all[number].compared(run, generation)
        self._learn((number, generation, count) for number, generation, count, doubt in found if not doubt)

    def looks(self) -> list[Command]:
        """The calls that read each partition's generation and count, which cost Redis next to nothing."""
        return [("HMGET", self._key("partition", number), "g", "n", "r", "d") for number in range(len(self.all))]

    def looked(self, answers: Sequence[Sequence[bytes | None]]) -> list[int]:
        """What Redis said to `looks`. Returns the partitions that are of a run which this process has not met: the
        server has become a replica, and what it has may be old; to compare them says so."""
        run = self.run.encode()
        with reading("a look at the partitions"):
            found = [
                (number, generation.decode(), int(count or 0))
                for number, (generation, count, trusted, doubted) in enumerate(answers)
                if generation is not None and trusted == run and doubted is None
            ]
            foreign = [n for n, (known, _, *runs) in enumerate(answers) if known is not None and run not in runs]
        self._learn(found)
        return foreign

    def _learn(self, found: Iterable[tuple[int, str, int]]) -> None:
        """Note the generations and counts of partitions that are trusted."""
        changed = 0
        for number, generation, count in found:
            self.doubted.discard(number)
            changed += self.all[number].learn(self.run, generation, count)
        if changed:
            self.changes += changed
            logger.warning("Redis lost what it had answered: the streams of %d partitions begin again", changed)

    def marks(self) -> list[Command]:
        """The calls by which the last instance of a cluster that ends in order leaves a mark that nothing was lost."""
        keys = [self._key("partition", number) for number in range(len(self.all))]
        return [("EVALSHA", REST.sha, 1, key, self.run) for key in keys]
