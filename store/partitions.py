"""Whether a Redis still has what it answered: generations of partitions, and what this process knows of them.

A run of Redis begins with what was saved, which may be older than what was answered before. So every process remembers
of each partition its generation and the highest count of publications it has heard of, and says so over each new
connection before anything else (`lua/arrive.lua`). A run that nobody has trusted yet is in doubt: scripts that need the
partition answer DOUBT, and the calls are held until it is settled (`link`). Instances have a vote, other processes
(workers, commands) only compare.

Pure bookkeeping, used by coroutines and threads; nothing here waits or talks to Redis.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from flotilla.store.errors import StoreUnavailable, reading
from flotilla.store.fitness import require_fit
from flotilla.store.placement import PARTITIONS, partition_key
from flotilla.store.scripts import Script

logger = logging.getLogger("flotilla.store.partitions")

ARRIVE = Script.load("flotilla.store", "arrive")
REST = Script.load("flotilla.store", "rest")

VOTES_WITHIN = 3.0  # seconds instances that are known to live have to compare
DOUBT = "DOUBT"  # the first word of the error by which a script says that nobody can tell what stands there

Command = tuple[Any, ...]


class Witness(NamedTuple):
    """An instance and those it knows to live, itself included. `name` is "" for a process that is none."""

    name: str = ""
    living: Collection[str] = ()


class Partition:
    """One partition as this process knows it: `count` is the highest that was heard in `generation`, during `run`."""

    __slots__ = ("_begin", "count", "generation", "run")

    def __init__(self) -> None:
        self.generation = ""
        self.count = 0
        self.run = ""
        self._begin = "?"  # how its epochs begin; none begins so

    def note(self, epoch: str, count: int) -> None:
        """A publication was heard. Of another generation Redis itself must tell first: a message may be an old one."""
        if count > self.count and epoch.startswith(self._begin):
            self.count = count

    def compared(self, run: str, generation: str) -> None:
        """What was heard so far was compared with another run: what is heard from now on is of that one."""
        if generation == self.generation:
            self.run = run

    def learn(self, run: str, generation: str, count: int) -> bool:
        """Redis said where it stands, in a run that is trusted. True when its generation has changed."""
        changed = self.generation not in ("", generation)
        if generation != self.generation:
            self.generation, self.count, self._begin = generation, count, f"{generation}."
        elif count > self.count:
            self.count = count
        self.run = run
        return changed


class Partitions:
    """The partitions of one Redis. `doubted`: those whose present run nobody has trusted yet."""

    scripts = (ARRIVE, REST)

    def __init__(self, durable: bool | None = None) -> None:
        self.all = [Partition() for _ in range(PARTITIONS)]
        self.doubted: set[int] = set()
        self.run = ""
        self.changes = 0  # of generations, as this process saw them: each time something was lost
        self.witness: Callable[[], Witness] = Witness
        self._durable = durable

    def __getitem__(self, number: int) -> Partition:
        return self.all[number]

    def questions(self, run: str, numbers: Iterable[int]) -> list[Command]:
        """The calls that compare these partitions with a run of Redis."""
        witness = self.witness()
        durable = getattr(settings, "REDIS_DURABLE", False) if self._durable is None else self._durable
        rest = (witness.name, int(VOTES_WITHIN * 1000), int(durable), *witness.living)
        prefix, found = settings.REALTIME_PREFIX, []
        for number in numbers:
            known = self.all[number]
            keys = (partition_key(prefix, "partition", number), partition_key(prefix, "votes", number))
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
        """The calls that ask how far each partition is, which cost Redis next to nothing."""
        prefix = settings.REALTIME_PREFIX
        return [("HMGET", partition_key(prefix, "partition", n), "g", "n", "r", "d") for n in range(PARTITIONS)]

    def looked(self, answers: Sequence[Sequence[bytes | None]]) -> None:
        """What Redis said to `looks`."""
        run = self.run.encode()
        with reading("a look at the partitions"):
            found = [
                (number, generation.decode(), int(count or 0))
                for number, (generation, count, trusted, doubted) in enumerate(answers)
                if generation is not None and trusted == run and doubted is None
            ]
        self._learn(found)

    def _learn(self, found: Iterable[tuple[int, str, int]]) -> None:
        """What stands in partitions that are trusted."""
        changed = 0
        for number, generation, count in found:
            self.doubted.discard(number)
            changed += self.all[number].learn(self.run, generation, count)
        if changed:
            self.changes += changed
            logger.warning("Redis lost what it had answered: the streams of %d partitions begin anew", changed)

    def marks(self) -> list[Command]:
        """The calls by which the last instance of a cluster that ends in order leaves word of it."""
        prefix = settings.REALTIME_PREFIX
        keys = [partition_key(prefix, "partition", number) for number in range(PARTITIONS)]
        return [("EVALSHA", REST.sha, 1, key, self.run) for key in keys]


def in_full(question: Command) -> Command:
    """A question for a Redis that does not know its script."""
    return ("EVAL", ARRIVE.text, *question[2:])


def run_of(info: bytes) -> str:
    """The run of Redis, from its answer to INFO server. Raises StoreUnavailable where it does not say, and StoreRefused
    for a server that cannot be used."""
    require_fit(info)
    for line in info.split(b"\n"):
        name, _, value = line.strip().partition(b":")
        if name == b"run_id":
            return value.decode()
    raise StoreUnavailable("Redis does not say its run_id, which Flotilla needs")
