"""The failovers that the campaign tries: what happens to the master, and how it is taken back."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.links import Link
from tests.cluster.support.guarded import Guarded
from tests.store.redis_fleet import Server

APART = 5.0  # seconds for which two masters are kept apart after the sentinels have another one


@dataclass
class World:
    """What a fault is made on. `links`: between the first instance and the sentinels."""

    cluster: Guarded
    links: list[Link]
    old: Server = field(init=False)  # the master at the beginning

    async def on_all(self, *command: str) -> None:
        """Run a command on each server that runs."""
        for server in self.cluster.fleet.servers:
            await asyncio.to_thread(server.ask, *command)


Act = Callable[[World], Awaitable[None]]


async def _nothing(world: World) -> None:
    """Nothing is prepared or taken back."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of failover: `before`, while all is well, and some publications later `begin`.

    `end` comes when the sentinels have another master (where it `stays`, they need not) and publications are answered
    again, or `APART` later where two masters are kept `apart`. `linked`: the first instance reaches the sentinels
    through `World.links`.
    """

    name: str
    begin: Act
    end: Act = _nothing
    before: Act = _nothing
    stays: bool = False
    apart: bool = False
    linked: bool = False


async def _planned(world: World) -> None:
    await asyncio.to_thread(world.cluster.fleet.fail_over)


async def _planned_held_back(world: World) -> None:
    """As docs/SCALE_OUT.md says how nothing is lost."""
    await asyncio.to_thread(world.old.ask, "CLIENT", "PAUSE", 5000, "WRITE")
    await _planned(world)


async def _kill(world: World) -> None:
    await asyncio.to_thread(world.old.kill)


async def _start(world: World) -> None:
    await asyncio.to_thread(world.old.start)


async def _stop(world: World) -> None:
    world.old.send(signal.SIGSTOP)


async def _wake(world: World) -> None:
    world.old.send(signal.SIGCONT)


async def _cut_off(world: World) -> None:
    """Its replicas and the sentinels cannot reach it; all instances can, and hear the sentinels."""
    await asyncio.to_thread(world.cluster.fleet.cut_off, world.old)


async def _reach_again(world: World) -> None:
    await asyncio.to_thread(world.cluster.fleet.reach_again, world.old)


async def _cut_off_with_an_instance(world: World) -> None:
    """The first instance is on its side: it hears no sentinel either."""
    for link in world.links:
        link.cut()
    await _cut_off(world)


async def _together_again(world: World) -> None:
    for link in world.links:
        link.mend()
    await _reach_again(world)


async def _require_replicas(world: World) -> None:
    await world.on_all("CONFIG", "SET", "min-replicas-to-write", "1")
    await world.on_all("CONFIG", "SET", "min-replicas-max-lag", "2")


async def _together_without(world: World) -> None:
    await world.on_all("CONFIG", "SET", "min-replicas-to-write", "0")
    await _together_again(world)


def _file(world: World) -> Path:
    return world.old.folder / "dump.rdb"


async def _restart_empty(world: World) -> None:
    """Before the sentinels have noticed."""
    await _kill(world)
    _file(world).unlink(missing_ok=True)
    await _start(world)


async def _save(world: World) -> None:
    await asyncio.to_thread(world.old.ask, "SAVE")


async def _restart_old(world: World) -> None:
    await _kill(world)
    await _start(world)


KINDS = (
    Kind("planned", _planned),
    Kind("planned, writes held back", _planned_held_back),
    Kind("killed", _kill, _start),
    Kind("hung, and awake again", _stop, _wake),
    Kind("cut off", _cut_off, _reach_again, apart=True),
    Kind("cut off with an instance", _cut_off_with_an_instance, _together_again, apart=True, linked=True),
    Kind(
        "… with min-replicas-to-write 1",
        _cut_off_with_an_instance,
        _together_without,
        before=_require_replicas,
        apart=True,
        linked=True,
    ),
    Kind("restarted at once, empty", _restart_empty, stays=True),
    Kind("restarted at once, older", _restart_old, before=_save, stays=True),
)
