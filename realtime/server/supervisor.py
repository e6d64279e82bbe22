"""Keeps N instances running behind one address, and the embedded Redis beneath them.

    SIGTERM, SIGINT   all instances drain together, then Redis stops; a second one ends everything at once
    SIGHUP            rolling restart: each replacement is ready before its predecessor drains
    SIGTTIN, SIGTTOU  one instance more; one fewer: the last drains (never the only one)
    an instance ends  another takes its place, after a pause that grows with each failure

It holds no connection and no listening socket, so its own troubles reach no client; its children die with it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flotilla.realtime.server.backoff import Backoff
from flotilla.realtime.server.child import Child, Plan, Say, how_it_ended
from flotilla.realtime.server.parent_death import REPLACES
from flotilla.realtime.server.redis_binary import NoRedis

REPLACED_WITHIN = 60.0  # seconds a replacement may take to be ready


class Beneath(Protocol):
    """What is started before the instances and stopped after them."""

    async def start(self) -> None: ...

    async def wait(self) -> int: ...

    async def stop(self) -> None: ...

    def kill(self) -> None: ...


@dataclass(eq=False, slots=True)
class Slot:
    """The place of one instance, with a name and a metrics port. `child` has it now; `gone`: nobody will any more."""

    name: str
    metrics_port: int
    child: Child | None = None
    gone: bool = False


class Supervisor:
    """Runs `instances` children by a plan. Use it in the main thread: children die with the thread that made them."""

    def __init__(
        self,
        plan: Plan,
        *,
        instances: int,
        name: str,
        metrics_port: int,
        say: Say,
        redis: Beneath | None = None,
        on_death: Callable[[str], None] | None = None,
        backoff: type[Backoff] = Backoff,
    ) -> None:
        """`on_death` is called, in a thread, with the incarnation of an instance whose process has exited."""
        self._plan = plan
        self._name = name
        self._metrics_port = metrics_port
        self._say = say
        self._redis = redis
        self._on_death = on_death
        self._backoff = backoff
        self._slots: list[Slot] = []
        self._keepers: set[asyncio.Task[None]] = set()
        self._children: set[Child] = set()
        self._leaving: set[asyncio.Task[None]] = set()  # drains of those whose slots went
        self._stopping = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._had_terminal = _in_terminal()
        for _ in range(instances):
            self._add_slot()

    @property
    def children(self) -> list[Child]:
        """The instances that run now, by their number."""
        return [slot.child for slot in self._slots if slot.child is not None]

    async def run(self) -> None:
        """Serve until told to stop; everything has ended when this returns."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGTTIN, self._one_more)
        loop.add_signal_handler(signal.SIGTTOU, self._one_fewer)
        for slot in self._slots:
            self._start_keeping(slot)
        below = asyncio.create_task(self._keep_redis())
        try:
            await self._stopping.wait()
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()  # this is why we stop: a fault of ours
        finally:
            self._stopping.set()
            await self._end(below)

    async def all_ready(self) -> None:
        """Wait until every instance can take clients."""
        while not (self._stopping.is_set() or all(slot.child and slot.child.ready.is_set() for slot in self._slots)):
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Drain and end; the second time, end now."""
        if not self._stopping.is_set():
            self._say("", "stopping: clients are told to reconnect (once more to stop at once)")
            self._stopping.set()
            return
        self._say("", "killed")
        for child in self._children:
            child.signal(signal.SIGKILL)
        if self._redis is not None:
            self._redis.kill()

    async def _end(self, below: "asyncio.Task[None]") -> None:
        """Stop everything, instances first. Who is just being started stops itself (`_spawn`)."""
        await asyncio.gather(*(child.stop() for child in set(self._children)))
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._rolling is not None:
            await asyncio.wait((self._rolling,))
        if self._redis is not None:
            await self._redis.stop()
        below.cancel()

    # Instances

    def _add_slot(self) -> Slot:
        index = len(self._slots)
        slot = Slot(f"{self._name}-{index}", self._metrics_port + index if self._metrics_port else 0)
        self._slots.append(slot)
        return slot

    def _start_keeping(self, slot: Slot) -> None:
        keeper = asyncio.create_task(self._keep(slot))
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keeper_ended)

    def _keeper_ended(self, keeper: "asyncio.Task[None]") -> None:
        if keeper.cancelled() or keeper.exception() is not None:
            self._stopping.set()
        else:
            self._keepers.discard(keeper)

    async def _keep(self, slot: Slot) -> None:
        """Have an instance in this slot, for as long as there is the slot."""
        backoff = self._backoff()
        while not (self._stopping.is_set() or slot.gone):
            child = slot.child
            try:
                child = child or await self._spawn(slot)
            except OSError as error:
                await self._pause(slot.name, f"could not be started: {error}", backoff.pause(0))
                continue
            slot.child = child
            status = await child.wait()
            self._children.discard(child)
            await self._tell_death(child)
            if slot.child is child and not (
                self._stopping.is_set() or slot.gone
            ):  # else it was replaced, or told to go
                slot.child = None
                await self._pause(child.name, how_it_ended(status), backoff.pause(child.ran_for))

    async def _spawn(self, slot: Slot, replaces: Child | None = None) -> Child:
        extra = {"METRICS_PORT": str(slot.metrics_port)}
        if replaces is not None:
            extra[REPLACES] = str(replaces.pid)
        child = await Child.spawn(slot.name, self._plan, extra, self._say)
        self._children.add(child)
        if self._stopping.is_set() or slot.gone:
            await child.stop()
        return child

    async def _tell_death(self, child: Child) -> None:
        """Its connections need not be present until its lease runs out: we have seen the process end."""
        if self._on_death is not None and child.incarnation:
            try:
                await asyncio.to_thread(self._on_death, child.incarnation)
            except Exception as error:  # noqa: BLE001  whatever it is, the next start must not wait for it
                self._say(child.name, f"its end could not be told, its lease will run out: {error}")

    async def _pause(self, name: str, why: str, seconds: float) -> None:
        """Wait before the next start, unless everything stops."""
        self._say(name, f"{why}; the next start is in {seconds:.1f} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # Rolling restart

    def _hang_up(self) -> None:
        if self._had_terminal and not _in_terminal():
            self._stopping.set()  # the terminal was closed: this is no request for a restart
        elif not self._stopping.is_set() and (self._rolling is None or self._rolling.done()):
            self._rolling = asyncio.create_task(self._roll())

    async def _roll(self) -> None:
        for slot in self._slots:
            old = slot.child
            if old is None or self._stopping.is_set():
                continue  # it is about to be started anyway, or not at all
            new = await self._spawn(slot, replaces=old)
            if not await new.become_ready(REPLACED_WITHIN):
                self._say(new.name, "the replacement did not become ready: the rolling restart is given up")
                await new.stop()
                self._children.discard(new)
                return
            slot.child = new
            self._say(new.name, f"replaced: process {new.pid} serves, process {old.pid} drains")
            await old.stop()
        self._say("", "every instance was replaced")

    # More, and fewer

    def _one_more(self) -> None:
        if self._may_change():
            slot = self._add_slot()
            self._start_keeping(slot)
            self._say("", f"one instance more: {slot.name}")

    def _one_fewer(self) -> None:
        if len(self._slots) == 1:
            self._say("", "this is the only instance: it stays")
        elif self._may_change():
            slot = self._slots.pop()
            slot.gone = True
            self._say("", f"one instance fewer: {slot.name} drains")
            if slot.child is not None:
                leaving = asyncio.create_task(slot.child.stop())
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    def _may_change(self) -> bool:
        """Whether the number of instances may change now; says so where it may not."""
        rolling = self._rolling is not None and not self._rolling.done()
        if rolling:
            self._say("", "a rolling restart is under way: ask for more or fewer instances when it is over")
        return not rolling and not self._stopping.is_set()

    # Redis

    async def _keep_redis(self) -> None:
        redis, backoff, loop = self._redis, self._backoff(), asyncio.get_running_loop()
        while redis is not None and not self._stopping.is_set():
            began = loop.time()
            status = await redis.wait()
            if self._stopping.is_set():
                return
            await self._pause("redis", how_it_ended(status), backoff.pause(loop.time() - began))
            try:
                await redis.start()
            except (NoRedis, OSError) as error:
                self._say("redis", str(error))


def _in_terminal() -> bool:
    try:
        os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else -1)
    except (OSError, ValueError):
        return False
    return True
