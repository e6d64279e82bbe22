"""Who is there while the faults happen: readers, those who burst, lie and never read, publishers, and a flooder.

Rooms keep history and presence, and tell joins and leaves. Some readers are in their room by their token (server-side).
Flooders ask for more than the limits of their namespaces give, over several connections of one user.
"""

import asyncio
import random
from typing import Any

from tests.chaos.client import Burster, Liar, Member, never_read
from tests.chaos.publishers import Publisher, SocketPublisher
from tests.chaos.wire import token
from tests.chaos.world import Way, World
from tests.cluster.support.harness import API_KEY, SECRET

ROOMS = [f"room:{number}" for number in range(10)]
BULK = "bulk:hall"
FLOODS = {"flood": "closed", "open": "open"}  # policy and namespace: what it does without Redis
FLOOD_RATE, FLOOD_BURST = 20, 40
READERS = 6  # of a room, beside one by its token
HTTP_PUBLISHERS, HTTP_RATE, HTTP_BATCH = 5, 5.0, 6  # every other one sends its publications one by one
SOCKET_PUBLISHERS, SOCKET_RATE = 6, 16.0
FLOODERS, FLOODER_RATE = 3, 14.0  # of each limit
HANGING = 4  # clients that never read
BULKS, BULK_SIZE, BULK_BATCH = 160, 32_000, 8
BULK_WITHIN = 4.0  # seconds

_ROOM: dict[str, Any] = {
    "history_size": 100_000,
    "history_ttl": "2h",
    "force_recovery": True,
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "allow_subscribe_for_client": True,
    "allow_publish_for_client": True,
    "allow_presence_for_client": True,
    "allow_history_for_client": True,
}
CONFIG: dict[str, Any] = {
    "ping_interval": 3,
    "pong_timeout": 2.5,
    "abuse": None,
    "namespaces": {
        "room": _ROOM,
        "bulk": {
            "history_size": 50,
            "history_ttl": "2h",
            "force_recovery": True,
            "allow_subscribe_for_client": True,
        },
        **{name: {"allow_publish_for_client": True} for name in FLOODS},
    },
    "rate_limits": {
        name: {
            "guards": f"ws.publish:{name}",
            "key": "user",
            "rate": f"{FLOOD_RATE}/s",
            "burst": FLOOD_BURST,
            "failure": failure,
        }
        for name, failure in FLOODS.items()
    },
}


def _lie(epoch: str, offset: int) -> tuple[str, int]:
    """A position that nobody has: from what was true to what cannot be."""
    return random.choice(
        (
            (epoch, 10**9),
            (epoch, offset + random.randint(1, 50)),
            (epoch, max(0, offset - random.randint(1, 50))),
            ("nowhere", offset),
            (epoch, 2**53 - 1),
            ("", offset + 1000),
        )
    )


class Crowd:
    """All of them. Use `come`, then `publish`; at the end `fall_silent` and `leave`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.readers: list[Member] = []
        self.members: list[Member] = []
        self.bursters: list[Burster] = []
        self.liars: list[Liar] = []
        self._ways: dict[str, Way] = {}
        for room in ROOMS:
            self.readers += [self._member(Member, f"reader-{room}-{number}", (room,)) for number in range(READERS)]
            self.readers.append(self._member(Member, f"server-side-{room}", (), server_side=(room,)))
        self.readers += [self._member(Member, f"bulk-reader-{number}", (BULK,)) for number in range(2)]
        self.bursters = [
            self._member(Burster, f"burster-{number}", (ROOMS[2 * number], ROOMS[2 * number + 1]))
            for number in range(4)
        ]
        self.liars = [
            self._member(Liar, f"liar-{number}", (ROOMS[3 * number], ROOMS[3 * number + 1]), lie=_lie)
            for number in range(3)
        ]
        self.socket_publishers = [
            self._member(SocketPublisher, f"publisher-{number}", (ROOMS[number],), into=ROOMS, rate=SOCKET_RATE)
            for number in range(SOCKET_PUBLISHERS)
        ]
        self.flooders = [
            self._member(
                SocketPublisher,
                f"flooder-{policy}-{number}",
                (),
                user=f"flooder of {policy}",
                only=number,
                into=[f"{policy}:gate"],
                rate=FLOODER_RATE,
                policy=policy,
            )
            for policy in FLOODS
            for number in range(FLOODERS)
        ]
        self.members = [*self.readers, *self.bursters, *self.liars, *self.socket_publishers, *self.flooders]
        self.publishers = [
            Publisher(world.log, Way(world).port, API_KEY, ROOMS, HTTP_RATE * (1 if number % 2 else 2), batch)
            for number in range(HTTP_PUBLISHERS)
            for batch in (HTTP_BATCH if number % 2 else 1,)
        ]
        self._bulk = Publisher(world.log, Way(world).port, API_KEY, [BULK], 1.0)
        self._tasks: list[asyncio.Task[None]] = []

    def _member(
        self,
        kind: Any,
        name: str,
        channels: tuple[str, ...],
        server_side: tuple[str, ...] = (),
        user: str = "",
        only: int | None = None,
        **more: Any,
    ) -> Any:
        way = Way(self.world, None if only is None else only % len(self.world.lives))
        claims = {"channels": list(server_side)} if server_side else {}
        proof = token(SECRET, user or f"user of {name}", **claims)
        self._ways[name] = way
        return kind(name, self.world.log, way.port, proof, channels, server_side, way.shielded, **more)

    async def come(self, within: float = 60.0) -> None:
        """Everybody connects and subscribes."""
        for member in self.members:
            member.start()
        async with asyncio.timeout(within):
            while not all(member.here for member in self.members):
                await asyncio.sleep(0.05)

    def publish(self) -> None:
        """Begin to publish, and to lie a little."""
        runs = [*self.publishers, *self.socket_publishers, *self.flooders]
        self._tasks = [asyncio.create_task(one.run()) for one in runs]

    async def fall_silent(self) -> None:
        """Finish what was begun, and publish nothing more."""
        for one in (*self.publishers, *self.socket_publishers, *self.flooders):
            one.enough = True
        await asyncio.wait(self._tasks, timeout=30)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def missing(self, since: float) -> list[str]:
        """Readers with an undisturbed way who have got nothing yet that was sent after `since`."""
        return [
            member.name
            for member in self.readers
            if BULK not in member.channels
            and not (member.here and all(member.freshest.get(room, 0.0) >= since for room in member.live))
        ]

    def at(self, instance: int) -> list[str]:
        """The client ids of those who are connected to an instance now."""
        return [one.client for one in self.members if one.client and self._ways[one.name].index == instance]

    async def burst(self, seconds: float, again: bool = False) -> None:
        """The bursters go out and in, several times in one message; `again`: then half of them come anew."""
        until = self.world.log.now + seconds
        while self.world.log.now < until:
            for burster in self.bursters:
                burster.burst(random.randint(1, 4))
            await asyncio.sleep(0.3)
        for burster in self.bursters[::2] if again else ():
            burster.drop()

    async def lie(self, seconds: float) -> None:
        """The liars come back with claims that are not true."""
        until = self.world.log.now + seconds
        while self.world.log.now < until:
            for liar in self.liars:
                liar.lie()
            await asyncio.sleep(0.3)

    async def never_read(self, instance: int) -> None:
        """Some clients hang while more is published than may be kept for them."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        port = self.world.instances[instance].port  # a link would keep much for them
        hanging = [
            asyncio.create_task(never_read(port, token(SECRET, f"hanging {number}"), (BULK,), asyncio.shield(done)))
            for number in range(HANGING)
        ]
        try:
            await asyncio.sleep(0.5)
            until = self.world.log.now + BULK_WITHIN
            for _ in range(BULKS // BULK_BATCH):
                if self.world.log.now < until:
                    await self._bulk.publish(BULK_BATCH, BULK_SIZE, BULK_WITHIN)
        finally:
            done.set_result(None)
            await asyncio.gather(*hanging, return_exceptions=True)

    async def leave(self) -> None:
        """Everybody goes, in one of the ways there are."""
        ways = ("close", "abort", "unsubscribe")
        await asyncio.gather(*(member.leave(ways[i % 3]) for i, member in enumerate(self.members)))
