"""The faults: what each does, how long it lasts, and how it is taken back.

A fault belongs to a lane; those of one lane follow each other, the lanes go side by side. `lossless` ones may cost
time but nothing that was acknowledged. Which instance or Redis is meant, how long and how hard, was chosen before
(`Choice`), from the seed alone, so that a seed repeats them.
"""

import asyncio
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import redis

from tests.chaos.links import Link
from tests.chaos.log import LogLine
from tests.chaos.nodes import Share
from tests.chaos.world import Store, World
from tests.cluster.support.harness import Instance

SERVERS, CLIENTS = "servers", "clients"
ENDED_WITHIN = 25.0  # seconds that SIGTERM may take


@dataclass(frozen=True, slots=True)
class Choice:
    """What the seed chose for one fault: whom it hits, how long it lasts (seconds), how hard (0 to 1)."""

    instance: int
    shard: int
    seconds: float
    force: float


class Droppable(Protocol):
    """One of the crowd."""

    def drop(self) -> None:
        """Lose the connection without a word, and come back."""


class Members(Protocol):
    """The crowd, as the faults of the clients need it."""

    @property
    def members(self) -> Sequence[Droppable]:
        """Everybody."""

    def missing(self, since: float) -> list[str]:
        """Who has got nothing yet that was sent after `since`."""

    async def burst(self, seconds: float) -> None:
        """Some go out and in, faster than they are answered."""

    async def lie(self, seconds: float) -> None:
        """Some come back with claims that are not true."""

    async def never_read(self, instance: int) -> None:
        """Some hang while much is sent to them."""


@dataclass(slots=True)
class Stage:
    """What a fault is made on. `snapshot`, `link`: what it keeps between its beginning and its end."""

    world: World
    crowd: Members
    snapshot: Path | None = None
    link: Link | None = None


Act = Callable[[Stage, Choice], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. `deafens`: pushes that are kept nowhere (joins, leaves) may be lost. `away`: a Redis cannot be
    reached. `about`: whether it hits an instance, a Redis, the link between the two, or the crowd."""

    name: str
    lane: str
    about: str
    seconds: tuple[float, float]
    do: Act
    undo: Act
    lossless: bool = True
    deafens: bool = True
    away: bool = False

    def target(self, choice: Choice) -> str:
        """Whom it hits, in words."""
        names = {"instance": f"instance-{choice.instance}", "redis": f"redis-{choice.shard}"}
        return names.get(self.about, f"instance-{choice.instance}/redis-{choice.shard}" if self.about == "link" else "")


async def nothing(stage: Stage, choice: Choice) -> None:
    """Nothing is to be taken back."""


def _store(stage: Stage, choice: Choice) -> Store | Share:
    return stage.world.stores[choice.shard]


# ---- instances


async def _kill(stage: Stage, choice: Choice) -> None:
    stage.world.disturb(choice.instance)
    await asyncio.to_thread(stage.world.instances[choice.instance].kill)


async def _launch(stage: Stage, choice: Choice) -> None:
    stage.world.launch(choice.instance)
    await asyncio.to_thread(stage.world.instances[choice.instance].wait_ready)
    stage.world.undisturb(choice.instance)


async def _pause(stage: Stage, choice: Choice) -> None:
    stage.world.disturb(choice.instance)
    stage.world.instances[choice.instance].send(signal.SIGSTOP)


async def _resume(stage: Stage, choice: Choice) -> None:
    stage.world.instances[choice.instance].send(signal.SIGCONT)
    stage.world.undisturb(choice.instance)


async def _terminate(stage: Stage, choice: Choice) -> None:
    stage.world.disturb(choice.instance)
    instance = stage.world.instances[choice.instance]
    instance.send(signal.SIGTERM)
    await _ended(stage, instance)


async def _ended(stage: Stage, instance: Instance) -> None:
    try:
        await asyncio.to_thread(instance.wait, ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        world = stage.world
        world.log.append(LogLine(world.log.now, instance.name, f"did not end within {ENDED_WITHIN:g} s of SIGTERM"))
        await asyncio.to_thread(instance.kill)


# ---- Redis


async def _redis_end(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).stop)


async def _redis_kill(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).kill)


async def _redis_start(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).start)


async def _all_end(stage: Stage, choice: Choice) -> None:
    """A planned restart of everything: the instances first, then each Redis."""
    for number, instance in enumerate(stage.world.instances):
        stage.world.disturb(number)
        instance.send(signal.SIGTERM)
    for instance in stage.world.instances:
        await _ended(stage, instance)
    await asyncio.to_thread(stage.world.stop_stores)


async def _all_start(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(stage.world.start_stores)
    await _launch_all(stage)


async def _launch_all(stage: Stage) -> None:
    for number in range(len(stage.world.instances)):
        stage.world.launch(number)
    for number, instance in enumerate(stage.world.instances):
        await asyncio.to_thread(instance.wait_ready)
        stage.world.undisturb(number)


async def _redis_snapshot(stage: Stage, choice: Choice) -> None:
    stage.snapshot = await asyncio.to_thread(_store(stage, choice).snapshot)


async def _redis_restore(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).restore, stage.snapshot)


async def _redis_restore_alone(stage: Stage, choice: Choice) -> None:
    """Everything dies, and Redis comes back older: nobody is left who has seen more."""
    world = stage.world
    for number, instance in enumerate(world.instances):
        world.disturb(number)
        await asyncio.to_thread(instance.kill)
    await _redis_restore(stage, choice)
    await _launch_all(stage)


async def _redis_empty(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).restore, None)


async def _readonly(stage: Stage, choice: Choice) -> None:
    """It believes to be the replica of a master that is not there: READONLY, or MASTERDOWN to everything."""
    store = _store(stage, choice)
    stale = "no" if choice.force < 0.3 else "yes"
    await asyncio.to_thread(store.command, "CONFIG", "SET", "replica-serve-stale-data", stale)
    await asyncio.to_thread(store.command, "REPLICAOF", "127.0.0.1", "1")


async def _writable(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).command, "REPLICAOF", "NO", "ONE")


async def _busy(stage: Stage, choice: Choice) -> None:
    store = _store(stage, choice)
    asyncio.get_running_loop().run_in_executor(None, _spin, store)


def _spin(store: Store | Share) -> None:
    try:
        store.command("EVAL", "while true do end", "0", within=60)
    except (OSError, redis.RedisError):
        pass


async def _free(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_store(stage, choice).command, "SCRIPT", "KILL")


async def _redis_pause(stage: Stage, choice: Choice) -> None:
    _store(stage, choice).send(signal.SIGSTOP)


async def _redis_resume(stage: Stage, choice: Choice) -> None:
    _store(stage, choice).send(signal.SIGCONT)


# ---- links


def _link(stage: Stage, choice: Choice) -> Link:
    stage.link = stage.world.redis_link(choice.instance, choice.shard)
    return stage.link


async def _redis_cut(stage: Stage, choice: Choice) -> None:
    _link(stage, choice).cut()


async def _redis_half_open(stage: Stage, choice: Choice) -> None:
    _link(stage, choice).half_open()


async def _redis_slow(stage: Stage, choice: Choice) -> None:
    _link(stage, choice).slow(0.01 + 0.05 * choice.force)


async def _redis_mend(stage: Stage, choice: Choice) -> None:
    assert stage.link is not None
    stage.link.mend()


async def _clients_cut(stage: Stage, choice: Choice) -> None:
    stage.world.disturb(choice.instance)
    stage.world.client_links[choice.instance].cut()


async def _clients_half_open(stage: Stage, choice: Choice) -> None:
    stage.world.disturb(choice.instance)
    stage.world.client_links[choice.instance].half_open()


async def _clients_slow(stage: Stage, choice: Choice) -> None:
    stage.world.disturb(choice.instance)
    stage.world.client_links[choice.instance].slow(0.05 + 0.25 * choice.force)


async def _clients_mend(stage: Stage, choice: Choice) -> None:
    stage.world.client_links[choice.instance].mend()
    stage.world.undisturb(choice.instance)


# ---- the crowd


async def _storm(stage: Stage, choice: Choice) -> None:
    for member in stage.crowd.members:
        member.drop()


async def _burst(stage: Stage, choice: Choice) -> None:
    await stage.crowd.burst(choice.seconds)


async def _lie(stage: Stage, choice: Choice) -> None:
    await stage.crowd.lie(choice.seconds)


async def _never_read(stage: Stage, choice: Choice) -> None:
    await stage.crowd.never_read(choice.instance)


FAULTS = (
    Fault("instance killed", SERVERS, "instance", (0.1, 0.5), _kill, _launch, deafens=False),
    Fault("instance stopped", SERVERS, "instance", (7.0, 8.0), _pause, _resume, deafens=False),
    Fault("instance ended", SERVERS, "instance", (0.1, 0.5), _terminate, _launch, deafens=False),
    Fault("everything ended", SERVERS, "crowd", (0.1, 0.5), _all_end, _all_start, away=True),
    Fault("redis ended", SERVERS, "redis", (0.2, 1.5), _redis_end, _redis_start, away=True),
    Fault("redis killed", SERVERS, "redis", (0.2, 1.5), _redis_kill, _redis_start, away=True),
    Fault("redis read-only", SERVERS, "redis", (0.8, 2.5), _readonly, _writable, away=True),
    Fault("redis busy", SERVERS, "redis", (0.8, 2.5), _busy, _free, away=True),
    Fault("redis hung", SERVERS, "redis", (2.5, 5.0), _redis_pause, _redis_resume, away=True),
    Fault("redis link cut", SERVERS, "link", (0.2, 2.0), _redis_cut, _redis_mend, away=True),
    Fault("redis link half-open", SERVERS, "link", (3.0, 4.5), _redis_half_open, _redis_mend, away=True),
    Fault("redis link slow", SERVERS, "link", (2.0, 4.0), _redis_slow, _redis_mend),
    Fault("redis older", SERVERS, "redis", (1.0, 2.0), _redis_snapshot, _redis_restore, lossless=False, away=True),
    Fault(
        "redis older, all killed",
        SERVERS,
        "redis",
        (1.0, 2.0),
        _redis_snapshot,
        _redis_restore_alone,
        lossless=False,
        away=True,
    ),
    Fault("redis empty", SERVERS, "redis", (0.1, 0.2), _redis_empty, nothing, lossless=False, away=True),
    Fault("client link cut", CLIENTS, "instance", (0.2, 1.5), _clients_cut, _clients_mend, deafens=False),
    Fault("client link half-open", CLIENTS, "instance", (6.0, 7.5), _clients_half_open, _clients_mend, deafens=False),
    Fault("client link slow", CLIENTS, "instance", (2.0, 4.0), _clients_slow, _clients_mend, deafens=False),
    Fault("storm of reconnects", CLIENTS, "crowd", (1.0, 2.0), _storm, nothing, deafens=False),
    Fault("bursts of subscribes", CLIENTS, "crowd", (2.0, 3.0), _burst, nothing, deafens=False),
    Fault("clients that never read", CLIENTS, "instance", (0.1, 0.2), _never_read, nothing, deafens=False),
    Fault("lies about positions", CLIENTS, "crowd", (2.0, 3.0), _lie, nothing, deafens=False),
)


def schedule(
    seed: int, lane: str, instances: int, shards: int, among: Sequence[Fault] = FAULTS
) -> Iterator[tuple[Fault, Choice]]:
    """The lane's faults without end, each once in every round, in an order that the seed decides."""
    chance = random.Random(f"{seed} {lane}")
    faults = [fault for fault in among if fault.lane == lane]
    while faults:
        chance.shuffle(faults)
        for fault in faults:
            seconds = chance.uniform(*fault.seconds)
            yield fault, Choice(chance.randrange(instances), chance.randrange(shards), seconds, chance.random())
