"""The load of the failovers: publishers, subscribers with presence, a flood against a limit, and their clocks.

Publishers send through all instances, each publication under an idempotency key until it is answered. Subscribers come
back as the SDKs do, and keep what they were given as spans (`failover_verdict`).
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cent import CentError
from websockets import WebSocketException

from flotilla.store import placement_of
from tests.cluster.campaigns.failover_verdict import Kept, Placed, Span
from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import Instance
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient
from tests.cluster.support.subscribers import Subscriber
from tests.store.redis_fleet import Server

PAUSE = 0.03  # seconds between a writer's publications
AGAIN = 0.05  # seconds until what was not answered is said again
RATE, BURST = 20, 20  # of the limit that is flooded
FLOOD_PAUSE = 0.01
LIMITED = "limited"  # the namespace and the user of the flood

_numbers = itertools.count(1)  # of all publications of this process


@dataclass(slots=True)
class Answer:
    """A publication that was answered: by which instance, when, and where it was put."""

    instance: str
    at: float
    placed: Placed


@dataclass
class Watcher(Subscriber):
    """A subscriber that notes what it was told, and when it was given each number."""

    spans: list[Span] = field(default_factory=list)
    first_given: dict[int, float] = field(default_factory=dict)
    client: str = ""
    told: list[str] = field(default_factory=list)

    def refused(self, message: dict[str, Any]) -> None:
        code = message.get("push", {}).get("unsubscribe", message.get("error", {})).get("code")
        self.told.append(f"{'error' if 'error' in message else 'unsubscribed'} {code}")

    def closed(self, code: int | None) -> None:
        if code is not None:
            self.told.append(f"closed {code}")

    def connected(self, result: dict[str, Any]) -> None:
        self.client = result["client"]

    def subscribed(self, result: dict[str, Any]) -> None:
        if not (result.get("was_recovering") and result.get("recovered")):
            if self.spans:
                self.told.append("not recovered")
            self.spans.append(Span(result["epoch"], result.get("offset", 0)))
            self.offset = result.get("offset", 0)
        else:
            self.spans[-1].epoch = result["epoch"]  # of a channel without a stream it may change
            for publication in result.get("publications", ()):
                self._take(publication)
        self.epoch = result["epoch"]
        self.ready.set()

    def _take(self, publication: dict[str, Any]) -> None:
        self.offset, number = publication["offset"], publication["data"]
        self.spans[-1].got.append((self.offset, number))
        self.first_given.setdefault(number, time.monotonic())

    @property
    def told_of_a_gap(self) -> bool:
        """Whether it began again."""
        return len(self.spans) > 1


class Load:
    """What goes on during one failover, in rooms of its own."""

    def __init__(self, instances: Sequence[Instance], name: str, rooms: int, writers: int) -> None:
        self.rooms = [f"proof:{name}-{number}" for number in range(rooms)]
        self.answered: dict[str, dict[int, Answer]] = {room: {} for room in self.rooms}
        self.errors: list[str] = []
        self.watchers = [Watcher(one.url, room) for room in self.rooms for one in instances]
        self.allowed = 0  # of the flood
        self.flooded = 0.0  # seconds of it
        self._instances = instances
        self._limit_room = f"{LIMITED}:{name}"
        self._writers = writers
        self._enough = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everybody is there for the time of a block; what is under way at its end is finished."""
        subscribers = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        others: list[asyncio.Task[None]] = []
        try:
            for watcher in self.watchers:
                await asyncio.wait_for(watcher.ready.wait(), 60)
            homes = itertools.islice(itertools.cycle(self._instances), self._writers)
            others = [asyncio.create_task(self._write(one, number)) for number, one in enumerate(homes)]
            others += [asyncio.create_task(self._flood(one)) for one in self._instances]
            yield
            self._enough = True
            await asyncio.gather(*others)
            await self._all_given()
        finally:
            self._enough = True
            for task in (*others, *subscribers):
                task.cancel()
            await asyncio.gather(*others, *subscribers, return_exceptions=True)

    async def more(self, count: int) -> None:
        """Wait until so many more were answered, by each instance."""
        wanted = {one.name: len(self.moments(one.name)) + count for one in self._instances}
        for name, number in wanted.items():
            await eventually(lambda n=name, k=number: len(self.moments(n)) >= k, f"{count} more are answered", 60)

    def moments(self, instance: str) -> list[float]:
        """When an instance answered its publications."""
        return [one.at for room in self.answered.values() for one in room.values() if one.instance == instance]

    def newest_of(self, instance: str) -> tuple[str, Placed]:
        """The newest publication that an instance answered: its room, and where it was put."""
        answers = [
            (one.at, room, one.placed)
            for room in self.rooms
            for one in self.answered[room].values()
            if one.instance == instance
        ]
        _, room, placed = max(answers)
        return room, placed

    async def _write(self, instance: Instance, number: int) -> None:
        async with Api(instance.http) as api:
            for room in itertools.islice(itertools.cycle(self.rooms), number, None):
                if self._enough:
                    return
                said, known = next(_numbers), self.answered[room]
                while said not in known:
                    try:
                        placed = await api.say(room, said, idempotency_key=f"k{said}")
                        known[said] = Answer(instance.name, time.monotonic(), (placed.epoch, placed.offset))
                    except CentError as error:
                        self.errors.append(f"{type(error).__name__} {error}")
                        if self._enough:
                            return
                        await asyncio.sleep(AGAIN)
                await asyncio.sleep(PAUSE)

    async def _flood(self, instance: Instance) -> None:
        """Publish as one user far above the limit, whatever is answered."""
        began = time.monotonic()
        while not self._enough:
            with contextlib.suppress(OSError, AssertionError, WebSocketException):
                async with RawClient(instance.url) as client:
                    try:
                        await self._shout(client)
                    finally:
                        self.allowed += sum("publish" in message for message in client.received)
            await asyncio.sleep(AGAIN)
        self.flooded = max(self.flooded, time.monotonic() - began)

    async def _shout(self, client: RawClient) -> None:
        await client.connect(LIMITED)
        while not self._enough:
            await client.call("publish", channel=self._limit_room, data=0)
            await asyncio.sleep(FLOOD_PAUSE)

    @property
    def limit(self) -> float:
        """The most that the limit allows in that time."""
        return BURST + RATE * self.flooded

    async def _all_given(self) -> None:
        """Wait until every subscriber stands where the newest answer is; who does not is a fault of the verdict."""

        def behind() -> bool:
            return any(w.spans[-1].top < self._newest(w.channel) for w in self.watchers)

        try:
            await eventually(lambda: not behind(), "everybody has the newest", 30)
        except AssertionError as error:
            self.errors.append(str(error))

    def _newest(self, room: str) -> int:
        answers = self.answered[room]
        return answers[max(answers, key=lambda n: answers[n].at)].placed[1] if answers else 0

    async def present(self, within: float = 30) -> bool:
        """Whether presence is right on every instance: exactly who is there, some of whom may still be coming back."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = [await self._presence(one, room) for one in self._instances for room in self.rooms]
            wanted = {room: {w.client for w in self.watchers if w.channel == room} for room in self.rooms}
            if found == [wanted[room] for _ in self._instances for room in self.rooms]:
                return True
            await asyncio.sleep(0.1)
        return False

    async def _presence(self, instance: Instance, room: str) -> set[str]:
        async with Api(instance.http) as api:
            answer = await api.post("presence", {"channel": room})
        return set(answer.get("result", {}).get("presence", {}))


def kept_by(master: Server, room: str) -> Kept:
    """A room as a server has it now."""
    name, entries = placement_of(room), {}
    epoch = (master.ask("HGET", name.key("meta"), "e") or b"").decode()
    for id, fields in master.ask("XRANGE", name.key("stream"), "-", "+"):
        data = dict(zip(fields[::2], fields[1::2], strict=True))[b"d"]
        entries[int(id.partition(b"-")[0])] = json.loads(data)["data"]
    return Kept(epoch, entries)
