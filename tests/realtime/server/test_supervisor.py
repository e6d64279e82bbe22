"""The supervisor with children that start in no time: restarts, rolling restarts, and ends in order."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from flotilla.realtime.server.backoff import Backoff
from flotilla.realtime.server.child import Plan
from flotilla.realtime.server.listeners import reserve
from flotilla.realtime.server.redis_binary import NoRedis
from flotilla.realtime.server.supervisor import Supervisor
from tests.waiting import until

TINY = str(Path(__file__).with_name("tiny.py"))
QUICK = partial(Backoff, first=0.05, jitter=lambda: 0.0)


class PretendedRedis:
    """What runs beneath; its life is a list of words."""

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self._ended = asyncio.Event()
        self.refuses = 0

    async def start(self) -> None:
        if self.refuses:
            self.refuses -= 1
            raise NoRedis("not now")
        self._events.append("redis started")
        self._ended.clear()

    async def wait(self) -> int:
        await self._ended.wait()
        return -9

    async def stop(self) -> None:
        self._events.append("redis stopped")
        self._ended.set()

    def kill(self) -> None:
        self._events.append("redis killed")
        self._ended.set()


@dataclass
class Fleet:
    """A running supervisor and what was said."""

    supervisor: Supervisor
    port: int
    lines: list[str]
    environment: dict[str, str]
    redis: PretendedRedis
    deaths: list[str]
    running: "asyncio.Task[None]" = field(init=False)

    def start(self) -> None:
        self.running = asyncio.create_task(self.supervisor.run())

    def said(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    async def ready(self) -> None:
        async with asyncio.timeout(20):
            await self.supervisor.all_ready()

    def ask(self) -> str:
        """Which process serves one connection; an answer must come, whatever goes on."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return connection.recv(100).decode()

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self.supervisor.children]


Launch = Callable[..., Awaitable[Fleet]]


@pytest_asyncio.fixture
async def launch() -> AsyncIterator[Launch]:
    """Starts a fleet: `await launch(instances=2, TINY="deaf")`; it is ended after the test."""
    fleets: list[Fleet] = []

    async def start(instances: int = 2, *, stop_within: float = 10.0, wait: bool = True, **environment: str) -> Fleet:
        lines: list[str] = []
        with reserve("127.0.0.1", 0) as address:
            port = int(address.getsockname()[1])
        handed = dict(os.environ) | environment
        plan = Plan("127.0.0.1", port, lambda fd: [sys.executable, TINY, str(fd)], handed, stop_within)
        redis = PretendedRedis(lines)
        deaths: list[str] = []

        def on_death(incarnation: str) -> None:
            deaths.append(incarnation)
            if "UNTOLD" in environment:
                raise OSError("nobody listens")

        quick: Any = QUICK
        supervisor = Supervisor(
            plan,
            instances=instances,
            name="web",
            metrics_port=9000,
            say=lambda name, line: lines.append(f"{name}: {line}"),
            redis=redis,
            on_death=on_death,
            backoff=quick,
        )
        fleet = Fleet(supervisor, port, lines, handed, redis, deaths)
        fleets.append(fleet)
        fleet.start()
        if wait:
            await fleet.ready()
        return fleet

    yield start
    for fleet in fleets:
        if not fleet.running.done():
            fleet.supervisor.stop()
            fleet.supervisor.stop()
        await asyncio.wait((fleet.running,))


async def test_instances_share_one_address_under_names_and_metric_ports_of_their_own(launch: Launch) -> None:
    fleet = await launch(2)
    answers = Counter(fleet.ask().split()[0] for _ in range(100))
    assert set(answers) == {"web-0", "web-1"}
    assert "web-0: serving as web-0 with metrics at 9000" in fleet.lines
    assert "web-1: serving as web-1 with metrics at 9001" in fleet.lines


async def test_supervisor_keeps_no_listening_socket(launch: Launch) -> None:
    """Else connections would be queued for a dead instance, and hang."""
    fleet = await launch(2)
    own = psutil.Process().net_connections("tcp")
    assert [c for c in own if c.laddr and c.laddr.port == fleet.port and c.status == psutil.CONN_LISTEN] == []


async def test_killed_instance_comes_back_while_the_other_serves_everyone(launch: Launch) -> None:
    fleet = await launch(2)
    victim, survivor = fleet.pids
    os.kill(victim, signal.SIGKILL)
    await until(lambda: fleet.said("ended by SIGKILL"), "the death was noticed")
    while len(fleet.pids) < 2:
        assert int(fleet.ask().split()[1]) in {survivor, *fleet.pids}
        await asyncio.sleep(0)
    await fleet.ready()
    assert survivor in fleet.pids and victim not in fleet.pids
    assert {int(fleet.ask().split()[1]) for _ in range(100)} == set(fleet.pids)


async def test_death_of_an_instance_is_told_under_the_name_it_gave(launch: Launch) -> None:
    fleet = await launch(2)
    victim, _ = fleet.pids
    os.kill(victim, signal.SIGKILL)
    await until(lambda: fleet.deaths, "it was told")
    assert fleet.deaths == [f"life-of-{victim}"]


async def test_death_that_cannot_be_told_does_not_keep_the_next_from_starting(launch: Launch) -> None:
    fleet = await launch(1, UNTOLD="1")
    (victim,) = fleet.pids
    os.kill(victim, signal.SIGKILL)
    await until(lambda: fleet.said("its lease will run out: nobody listens"), "it was said")
    await until(lambda: fleet.pids and fleet.pids != [victim], "another took its place")


async def test_death_of_one_that_was_never_ready_is_nobodys_business(launch: Launch) -> None:
    fleet = await launch(1, wait=False, TINY="fails")
    await until(lambda: fleet.said("ended with status 3"), "it ended")
    assert fleet.deaths == []


async def test_instance_that_ends_in_order_comes_back_as_well(launch: Launch) -> None:
    fleet = await launch(1)
    (old,) = fleet.pids
    os.kill(old, signal.SIGTERM)
    await until(lambda: fleet.pids and fleet.pids != [old], "another took its place")
    assert fleet.said("web-0: ended; the next start is in")


async def test_instance_that_fails_at_its_start_is_tried_less_and_less_often(launch: Launch) -> None:
    fleet = await launch(1, wait=False, TINY="fails")
    await until(lambda: fleet.said("ended with status 3") >= 3, "it was started several times")
    pauses = [line.rpartition(" in ")[2] for line in fleet.lines if "next start" in line]
    assert pauses[:3] == ["0.1 s", "0.1 s", "0.2 s"]  # 0.05, 0.1, 0.2
    fleet.supervisor.stop()
    await asyncio.wait_for(fleet.running, 10)


async def test_stop_ends_all_instances_then_redis_and_leaves_nothing(launch: Launch) -> None:
    fleet = await launch(3, TINY="last-words")
    pids = fleet.pids
    fleet.supervisor.stop()
    await asyncio.wait_for(fleet.running, 10)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert fleet.said("good-bye") == 3, "the last words of each were passed on"
    assert fleet.lines[-1] == "redis stopped"


async def test_instance_deaf_to_sigterm_is_killed_after_its_time(launch: Launch) -> None:
    fleet = await launch(2, stop_within=0.3, TINY="deaf")
    fleet.supervisor.stop()
    await asyncio.wait_for(fleet.running, 10)
    assert fleet.said("did not end within 0.3 s: killed") == 2


async def test_second_stop_ends_everything_at_once(launch: Launch) -> None:
    fleet = await launch(2, stop_within=60, TINY="deaf")
    fleet.supervisor.stop()
    fleet.supervisor.stop()
    await asyncio.wait_for(fleet.running, 10)
    assert "redis killed" in fleet.lines


async def test_stop_during_a_pause_between_starts_is_immediate(launch: Launch) -> None:
    fleet = await launch(2, wait=False, TINY="fails")
    await until(lambda: fleet.said("ended with status 3") >= 12, "the pauses are long by now")
    fleet.supervisor.stop()
    await asyncio.wait_for(fleet.running, 1)


async def test_rolling_restart_replaces_everyone_and_refuses_nobody(launch: Launch) -> None:
    fleet = await launch(2)
    old = set(fleet.pids)
    os.kill(os.getpid(), signal.SIGHUP)
    while not fleet.said("every instance was replaced"):
        # A queue is dropped when tiny children end, which real ones empty first: a reset is no refusal.
        with contextlib.suppress(ConnectionResetError):
            fleet.ask()
        await asyncio.sleep(0)
    assert old.isdisjoint(fleet.pids) and len(fleet.pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in old)


async def test_replacement_that_does_not_become_ready_leaves_the_old_one_in_place(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flotilla.realtime.server.supervisor.REPLACED_WITHIN", 0.5)
    fleet = await launch(2)
    before = fleet.pids
    fleet.environment["TINY"] = "slow"
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: fleet.said("the rolling restart is given up"), "it was given up")
    assert fleet.pids == before
    fleet.environment.pop("TINY")


async def test_stop_in_the_middle_of_a_rolling_restart_leaves_nothing(launch: Launch) -> None:
    others = set(psutil.Process().children())  # of other tests, such as the Redis they share
    fleet = await launch(2)
    fleet.environment["TINY"] = "slow"
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(set(psutil.Process().children()) - others) == 3, "the replacement was started")
    children = set(psutil.Process().children()) - others
    fleet.supervisor.stop()
    await asyncio.wait_for(fleet.running, 10)
    assert not any(child.is_running() for child in children)


async def test_one_instance_more_and_one_fewer_while_the_others_serve(launch: Launch) -> None:
    fleet = await launch(2)
    others = set(fleet.pids)
    os.kill(os.getpid(), signal.SIGTTIN)
    await until(lambda: "web-2: serving as web-2 with metrics at 9002" in fleet.lines, "a third was started")
    await fleet.ready()
    third = set(fleet.pids) - others
    assert len(third) == 1 and {int(fleet.ask().split()[1]) for _ in range(150)} == others | third
    os.kill(os.getpid(), signal.SIGTTOU)
    await until(lambda: not any(psutil.pid_exists(pid) for pid in third), "it has ended")
    assert set(fleet.pids) == others
    assert fleet.deaths == [f"life-of-{pid}" for pid in third]


async def test_an_instance_that_went_stays_away_also_where_another_took_its_name(launch: Launch) -> None:
    """Its keeper must not take the new one's place for its own when the old process has ended."""
    fleet = await launch(2)
    (_, old) = fleet.pids
    os.kill(os.getpid(), signal.SIGTTOU)
    os.kill(os.getpid(), signal.SIGTTIN)
    await until(lambda: not psutil.pid_exists(old), "the old one has ended")
    await until(lambda: fleet.said("web-1: serving as web-1") == 2, "the new one serves")
    await fleet.ready()
    assert len(fleet.pids) == 2
    assert {int(fleet.ask().split()[1]) for _ in range(100)} == set(fleet.pids)


async def test_the_only_instance_stays(launch: Launch) -> None:
    fleet = await launch(1)
    os.kill(os.getpid(), signal.SIGTTOU)
    await until(lambda: fleet.said("this is the only instance: it stays"), "it was said")
    assert len(fleet.pids) == 1 and fleet.ask()


async def test_the_number_of_instances_does_not_change_in_a_rolling_restart(launch: Launch) -> None:
    fleet = await launch(2)
    fleet.environment["TINY"] = "slow"
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: fleet.said("serving as web-0") == 2, "the replacement was started")
    os.kill(os.getpid(), signal.SIGTTOU)
    await until(lambda: fleet.said("a rolling restart is under way"), "it was refused")
    assert len(fleet.pids) == 2


async def test_redis_that_ends_is_started_again_until_it_runs(launch: Launch) -> None:
    fleet = await launch(1)
    fleet.redis.refuses = 2
    fleet.redis.kill()
    await until(lambda: "redis started" in fleet.lines, "it runs again")
    assert fleet.said("redis: not now") == 2
    assert fleet.said("redis: ended by SIGKILL; the next start is in")


async def test_very_long_line_of_output_harms_nobody(launch: Launch) -> None:
    fleet = await launch(0)
    code = "print('x' * 300_000); print('after')"
    plan = Plan("127.0.0.1", fleet.port, lambda _: [sys.executable, "-c", code], dict(os.environ), 5)
    from flotilla.realtime.server.child import Child

    said: list[str] = []
    child = await Child.spawn("long", plan, {}, lambda _, line: said.append(line))
    assert await child.wait() == 0
    assert sum(line.count("x") for line in said) == 300_000 and said[-1] == "after"
    assert not child.ready.is_set()
