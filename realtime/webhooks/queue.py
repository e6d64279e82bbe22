"""One endpoint's queue in Redis: who may empty it, what is in it, and what was delivered.

The queue has a part in each partition of each Redis (`flotilla.presence.outbox`), so that events are written in one
step with what they tell of. Each event has a number in its part; what is fetched stays until it is acknowledged. A
lease on the first Redis says who delivers; its term fences every part off from an earlier holder.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flotilla.presence.outbox import part_keys
from flotilla.store import Script, Shard, Store, StoreUnavailable, reading, whole_placement

HOLD, LET_GO, FETCH, ACK = (
    Script.load("flotilla.realtime.webhooks", name) for name in ("hold", "let_go", "fetch", "ack")
)
TERM_TTL = 7 * 86_400  # seconds
OVERHEAD = 64  # bytes that an event counts beside its own, as in presence's `lua/_common.lua`


class Superseded(Exception):
    """Another process delivers to this endpoint now."""


class Part(NamedTuple):
    """The share of a queue in one partition of one Redis."""

    shard: Shard
    partition: int
    keys: tuple[str, str]

    @property
    def place(self) -> str:
        """Its name, which is part of its events' ids."""
        return f"{self.shard.index}-{self.partition}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Some of the oldest events of a part, as they are in Redis: the first has the number `first`."""

    part: Part
    first: int
    dropped: int
    events: list[bytes]


class EndpointQueue:
    """The queue of one endpoint. Every method raises StoreUnavailable, and after `hold` those may raise Superseded."""

    def __init__(self, store: Store, name: str, who: str) -> None:
        self._first = store.first
        self._who = who
        self._parts = [
            Part(shard, number, part_keys(name, partition))
            for shard in store.shards
            if shard.partitions is not None
            for number, partition in enumerate(shard.partitions.placements())
        ]
        placement = whole_placement("webhooks")
        self._lease, self._term = placement.key(f"webhook-lease-{name}"), placement.key(f"webhook-term-{name}")

    async def hold(self, seconds: float) -> int:
        """Take or keep the right to deliver for so long; returns the term, 0 while another has it."""
        answer = await self._first.run(HOLD, [self._lease, self._term], [self._who, int(seconds * 1000), TERM_TTL])
        with reading("the lease of a webhook"):
            return int(answer)

    async def let_go(self) -> None:
        """Let another deliver at once."""
        await self._first.run(LET_GO, [self._lease], [self._who])

    async def filled(self) -> list[tuple[Part, int]]:
        """The parts that have events, and how many. A Redis that is away has none for now; raises if none answers."""
        asked = [part.shard.call("LLEN", part.keys[0]) for part in self._parts]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, StoreUnavailable) or len(failures) == len(answers):
                raise failure
        known = zip(self._parts, answers, strict=True)
        return [(part, answer) for part, answer in known if isinstance(answer, int) and answer > 0]

    async def fetch(self, term: int, parts: Sequence[Part], most: int) -> list[Fetched]:
        """The oldest events of some parts, at most `most` of each."""
        calls = (part.shard.run(FETCH, part.keys, [term, most]) for part in parts)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        found: list[Fetched] = []
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, StoreUnavailable):
                    raise answer
                continue  # that Redis is away: its events come later
            with reading("events for a webhook"):
                first, *rest = answer
            if first < 0:
                raise Superseded
            if first > 0:
                found.append(Fetched(part, first, int(rest[0]), rest[1:]))
        return found

    async def ack(self, term: int, delivered: Sequence[Fetched]) -> None:
        """Take delivered events out. Those for which that fails are delivered again."""
        calls = (
            one.part.shard.run(ACK, one.part.keys, [term, one.first + len(one.events) - 1, one.events[-1], OVERHEAD])
            for one in delivered
            if one.events
        )
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
