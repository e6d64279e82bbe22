"""What the faults are made on: Redises, instances, and the stretches of network between them and before them.

Every instance reaches each Redis over a link of its own, and clients reach each instance over one. Each instance has
its port; one that is started again keeps it. `shielded` says which instances clients may expect an answer from.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.client import HELD_UP
from tests.chaos.links import Link
from tests.chaos.log import Log, Size
from tests.chaos.nodes import Nodes, Share
from tests.chaos.previous import PreviousInstance
from tests.chaos.wire import Place
from tests.cluster.support.harness import Instance, environment, manage
from tests.cluster.support.processes import Redis

AFTERMATH = 6.0  # seconds after a disturbance in which an answer may still be missing


class Store(Redis):
    """A Redis that says BUSY soon; each write is on disk before it is answered."""

    def __init__(self, home: Path, name: str) -> None:
        home = home / name
        home.mkdir()
        super().__init__(home)
        self.name = name

    def start(self) -> None:
        """Start with what its directory holds."""
        super().start()
        self.command("CONFIG", "SET", "lua-time-limit", "200")

    def command(self, *words: str, within: float = 10.0) -> bytes:
        """Send one command past all links, and return the first of its answer."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection((self.host, self.port), timeout=within) as connection:
            connection.sendall(request.encode())
            return connection.recv(4096)


class Way:
    """How one member comes to the instances: over a link of any of them, in turn at random."""

    def __init__(self, world: "World", only: int | None = None) -> None:
        self._world = world
        self._only = only
        self.index = only or 0

    def port(self) -> Place:
        """Where the next try goes."""
        self.index = random.randrange(len(self._world.instances)) if self._only is None else self._only
        return self._world.entrance(self.index)

    def shielded(self) -> bool:
        """Whether nothing stands between the member and a running instance, nor did just now."""
        return self._world.shielded(self.index)


class World:
    """All of it. `start` before anything else, `stop` whatever happened."""

    def __init__(
        self,
        home: Path,
        log: Log,
        config: dict[str, Any],
        instances: int,
        shards: int,
        previous: Path | None = None,
        cluster: bool = False,
        **more: str,
    ) -> None:
        """`previous`: a checkout of the release before, of which the first instance is. `cluster`: the Redises are the
        nodes of one. `more`: of the instances' environment."""
        self.home = home
        self._previous = previous
        self.log = log
        self._config = config
        self._more = more
        self.nodes = Nodes(home) if cluster else None
        self.stores: Sequence[Store | Share] = (
            self.nodes.shares if self.nodes else [Store(home, f"redis-{number}") for number in range(shards)]
        )
        self.instances: list[Instance] = []
        self.lives = [0] * instances
        self.client_links: list[Link] = []
        self.redis_links: list[list[Link]] = []  # by instance, then by shard, or by node
        self._disturbed: list[int] = [0] * instances
        self._since: list[float] = [-AFTERMATH] * instances
        self._late = -AFTERMATH  # when the campaign itself was last held up

    async def start(self) -> None:
        """Start everything and wait until it is ready."""
        await asyncio.to_thread(self.start_stores)
        for number in range(len(self.lives)):
            env = environment(self.home, await self._way_to_redis(number), self._config, **self._more)
            if not number:
                await asyncio.to_thread(manage, env, "migrate", "--verbosity", "0")
            instance = self._instance(number, env)
            self.instances.append(instance)
            link = Link(instance.port)
            await link.start()
            self.client_links.append(link)
            self.launch(number)
        for instance in self.instances:
            await asyncio.to_thread(instance.wait_ready)

    async def _way_to_redis(self, number: int) -> str:
        """Make the links of an instance; gives the address over them."""
        if self.nodes is not None:
            links = await self.nodes.links(number)
            self.redis_links.append(links)
            return self.nodes.address(links)
        links = [Link(store.port) for store in self.stores if isinstance(store, Store)]
        for link in links:
            await link.start()
        self.redis_links.append(links)
        return ",".join(f"redis://127.0.0.1:{link.port}" for link in links)

    def redis_link(self, instance: int, shard: int) -> Link:
        """From an instance to a Redis, in a cluster to the node that is the master now."""
        store = self.stores[shard]
        return self.redis_links[instance][store.number if isinstance(store, Share) else shard]

    def start_stores(self) -> None:
        """Start every Redis."""
        for store in (self.nodes,) if self.nodes is not None else self.stores:
            store.start()

    def stop_stores(self) -> None:
        """End every Redis in order."""
        for store in (self.nodes,) if self.nodes is not None else self.stores:
            store.stop()

    def _instance(self, number: int, env: dict[str, str]) -> Instance:
        name = f"instance-{number}"
        if self._previous is not None and not number:
            return PreviousInstance(name, self.home, env, self._previous)
        return Instance(name, self.home, env)

    def entrance(self, number: int) -> Place:
        """Where clients of an instance connect."""
        return self.client_links[number].port

    def direct(self, number: int) -> Callable[[], Place]:
        """Where an instance listens itself, past its link; as members take it."""
        return lambda: self.instances[number].port

    def launch(self, number: int) -> None:
        """Start an instance that does not run."""
        self.lives[number] += 1
        self.instances[number].launch()

    async def stop(self) -> list[str]:
        """End everything; returns what did not end in time."""
        late = []
        redises = (self.nodes,) if self.nodes is not None else self.stores
        for process in (*self.instances, *redises):
            try:
                await asyncio.to_thread(process.stop)
            except AssertionError as error:
                late.append(f"{process.name}: {str(error).splitlines()[0]}")
        for link in (*self.client_links, *(link for links in self.redis_links for link in links)):
            await link.stop()
        return late

    def disturb(self, number: int) -> None:
        """From now on an instance, or the way to it, is not what it should be."""
        self._disturbed[number] += 1

    def undisturb(self, number: int) -> None:
        """It is again, from now on."""
        self._disturbed[number] -= 1
        self._since[number] = self.log.now

    def shielded(self, number: int) -> bool:
        """Whether an instance can be expected to answer at once, and the answer to be seen at once."""
        since = max(self._since[number], self._late)
        return not self._disturbed[number] and self.log.now - since > AFTERMATH

    def held_up_since(self, moment: float) -> bool:
        """Whether this very process was held up after a moment of the log."""
        return self._late >= moment

    async def watch_itself(self) -> None:
        """Notice when this very process is held up: what is late then is not the instances' fault."""
        while True:
            asked = self.log.now
            await asyncio.sleep(0.1)
            if self.log.now - asked > 0.1 + HELD_UP:
                self._late = self.log.now

    async def ready(self) -> list[bool]:
        """Which instances say that they are ready."""
        return list(await asyncio.gather(*(asyncio.to_thread(instance.ready) for instance in self.instances)))

    def _clients(self, instance: Instance) -> int:
        """How many connections an instance's clients have to it."""
        return sum(
            bool(one.laddr) and one.laddr.port == instance.port and one.status == psutil.CONN_ESTABLISHED
            for one in psutil.Process(instance.pid).net_connections("inet")
        )

    def measure(self, number: int, moment: str) -> None:
        """Note what an instance holds; the sockets of its clients are not counted."""
        instance = self.instances[number]
        try:
            process, clients = psutil.Process(instance.pid), self._clients(instance)
            memory, files = process.memory_info().rss, process.num_fds() - clients
        except psutil.Error:
            return
        self.log.append(Size(self.log.now, instance.name, self.lives[number], moment, memory, files))
