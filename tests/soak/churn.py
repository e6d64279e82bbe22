"""The churn: everything that may be asked of the platform, at steady rates, for as long as it runs.

What fails is counted and does not end the churn; `Churn.slow` says what did not keep its rate. Users and names of
channels turn: each is used for a while by a few and never again, so that whatever is remembered by name shows.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import websockets

from tests.soak import asking, members
from tests.soak.members import Client, Tally
from tests.soak.world import World

USERS_EACH = 3  # connections of a user, one after another
NAMES_EACH = 4  # subscriptions to a name that turns
VISITORS = 0.1  # of the clients
BY_WEBSOCKET, IN_PROTOBUF, BY_STREAM = 0.7, 0.1, 0.15  # of the clients; the rest are listeners
NEW = 1 - BY_WEBSOCKET * members.AGAIN  # of those who connect: the others come back
KEPT_UP = 0.8  # of a rate
AT_ONCE = 100  # of one kind of work


@dataclass(frozen=True)
class Rates:
    """How much, each a second, but for `connections`: how many are there at a time."""

    connections: int = 300
    connects: float = 5.0
    turns: float = 10.0  # subscriptions to a name that turns; once a client has some it leaves as many
    commands: float = 10.0
    publications: float = 50.0
    requests: float = 10.0
    hostilities: float = 1.0


class Churn:
    """Begins with `start`; `stop` ends everything that it holds."""

    def __init__(self, world: World, rates: Rates) -> None:
        self.tally = Tally()
        self._world, self._rates = world, rates
        self._clients: set[Client] = set()
        self._users, self._names = itertools.count(), itertools.count()
        self._asking = asking.Asking(world, self.tally, self._name)
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = 0.0
        self.broken: BaseException | None = None  # what is wrong with the churn itself

    @property
    def works(self) -> dict[str, tuple[float, Callable[[], Awaitable[None]]]]:
        """The kinds of work, with their rates."""
        rates = self._rates
        return {
            "newcomers": (rates.connects * NEW, self._come),
            "turns": (rates.turns, self._turn),
            "commands": (rates.commands, self._command),
            "publications": (rates.publications, self._asking.publish),
            "requests": (rates.requests, self._asking.ask),
            "hostilities": (rates.hostilities, self._asking.be_hostile),
        }

    def start(self) -> None:
        """Begin with all of it; the first clients come as fast as the others."""
        self._began = asyncio.get_running_loop().time()
        for name, (rate, work) in self.works.items():
            self._spawn(self._steadily(name, rate, work))

    async def stop(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            client.close(rudely=True)
        self._asking.close()

    async def leak(self, what: str, size: int) -> None:
        """Have instances leak on purpose, so much a second in all, until cancelled."""
        loop, leaked = asyncio.get_running_loop(), 0
        began = loop.time()
        while True:
            await asyncio.sleep(1.0)
            due = int(size * (loop.time() - began)) - leaked
            with suppress(OSError, TimeoutError, ValueError):
                await self._asking.leak(what, due)
                leaked += due

    def slow(self) -> list[str]:
        """What did not keep its rate."""
        spent = asyncio.get_running_loop().time() - self._began
        return [
            f"{name}: {self.tally.done[name] / spent:.1f} a second of {rate:g}"
            for name, (rate, _) in self.works.items()
            if self.tally.done[name] < KEPT_UP * rate * spent
        ]

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.broken = error

    async def _steadily(self, name: str, rate: float, work: Callable[[], Awaitable[None]]) -> None:
        """Begin `work` so often, whether what was begun has ended or not, but for what would be too much at once."""
        loop, going = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        due = loop.time()
        while rate > 0:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + 1 / rate, loop.time() - 1.0)
            if len(going) < AT_ONCE:
                task = self._spawn(self._counted(name, work))
                going.add(task)
                task.add_done_callback(going.discard)

    async def _counted(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self.tally.done[name] += 1
        except (OSError, EOFError, TimeoutError, ValueError, AssertionError, websockets.WebSocketException) as error:
            self.tally.errors[f"{name}: {type(error).__name__} {error}"[:100]] += 1

    # ---- clients

    async def _come(self) -> None:
        """A newcomer, who stays."""
        user = "" if random.random() < VISITORS else f"user-{next(self._users) // USERS_EACH}"
        port, tally, how = self._world.port, self.tally, random.random()
        if how < BY_WEBSOCKET:
            self._spawn(self._member(Client(self._world.url, user, tally)))
        elif how < BY_WEBSOCKET + IN_PROTOBUF:
            self._spawn(self._counted("lives", lambda: members.in_protobuf(self._world.url, user, tally, self._life)))
        elif how < BY_WEBSOCKET + IN_PROTOBUF + BY_STREAM:
            self._spawn(self._counted("lives", lambda: members.by_stream(port, user, tally, self._life)))
        else:
            self._spawn(self._counted("lives", lambda: members.as_listener(port, user or "ear", tally, self._life)))

    def _life(self) -> float:
        """Seconds, so that as many as are wanted are there."""
        return random.expovariate(self._rates.connects / self._rates.connections)

    async def _member(self, client: Client) -> None:
        self._clients.add(client)
        try:
            await self._counted("lives", lambda: members.over_websocket(client, self._life))
        finally:
            client.close(rudely=True)
            self._clients.discard(client)

    def _name(self) -> str:
        """A channel that turns."""
        return f"turn:{next(self._names) // NAMES_EACH}"

    async def _turn(self) -> None:
        self._anybody().turn(self._name())

    async def _command(self) -> None:
        client = self._anybody()
        channel = random.choice([*client.channels])
        what = random.randrange(8)
        if what == 0:
            client.ask("publish", channel=channel, data={"by": client.user})
        elif what == 1:
            client.ask("presence", channel=f"room:{random.randrange(members.ROOMS)}")
        elif what == 2:
            client.ask("presence_stats", channel=f"room:{random.randrange(members.ROOMS)}")
        elif what == 3:
            client.ask("history", channel=f"room:{random.randrange(members.ROOMS)}", limit=10)
        elif what == 4:
            client.ask("rpc", method="echo", data={"text": "x" * random.randrange(500)})
        elif what == 5:
            client.ask("publish", channel=f"map:{random.randrange(members.OTHERS)}", type=1, key=client.user, data={})
        elif what == 6:
            await self._recover_at_once(client)
        else:
            client.say('{"send":{"data":{"text":"hello"}}}')

    async def _recover_at_once(self, client: Client) -> None:
        """Leave a channel and come back to it on the same connection."""
        channel, more = random.choice([*client.channels.items()])
        client.ask("unsubscribe", channel=channel)
        await asyncio.sleep(random.uniform(0.1, 1.0))
        client.ask("subscribe", channel=channel, **more)

    def _anybody(self) -> Client:
        """Somebody over WebSocket who is there. Raises ValueError when nobody is."""
        found = [client for client in self._clients if client.connected]
        if not found:
            raise ValueError("nobody is there yet")
        return random.choice(found)
