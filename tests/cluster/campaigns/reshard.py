"""One Redis becomes two, two become three, and three one, under load: `make reshard`.

Instances of `serve` take their addresses from a file; `manage.py reshard --switch` has them end, and they come again
with the new list. Meanwhile every room gets publications, each said again until it is answered, and clients of the
official Python SDK follow them. An instance is killed while the layout ends, the command in the middle of its work (and
called again), a Redis while it is needed. Each client must have every publication, once and in order, or have been told
that it has not (`recovered: false`, 2500); each room's history must be exactly what was answered, presence true,
and no key left where nobody looks for it. The exit status is 1 where anything of that does not hold.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis as Client

from tests.cluster.support.harness import API_KEY, Served
from tests.cluster.support.processes import ROOT, Process, Redis, eventually
from tests.cluster.support.sdk import PythonClient
from tests.cluster.support.subscribers import CONFIG

STEPS: tuple[tuple[str, str, str], ...] = (
    ("0", "01", "an instance is killed"),
    ("01", "012", "a Redis is killed"),
    ("012", "0", "the command is killed"),
)
SAID_WITHIN = 300.0  # seconds


@dataclass
class Room:
    """A channel, the publications that were answered, and who follows it."""

    name: str
    clients: list[PythonClient] = field(default_factory=list)
    published: int = 0
    again: int = 0

    def faults(self) -> dict[str, int]:
        """What its clients were not given, or twice, without being told; and how often one was told."""
        found = {"lost": 0, "repeated": 0, "told": 0}
        for client in self.clients:
            last, told = 0, True  # the first one may be any
            for event in client.seen.events:
                if event.get("channel") != self.name:
                    continue
                if event["event"] == "subscribed" and event.get("was_recovering") and not event.get("recovered"):
                    found["told"] += 1
                    told = True
                elif event["event"] == "publication":
                    number = event["data"]
                    found["repeated"] += number <= last
                    if not told and number > last + 1:
                        found["lost"] += number - last - 1
                        print(f"{self.name}: {last} and then {number}: {client.seen.events[-400:]}")
                    last, told = max(last, number), False
            found["lost"] += 0 if told else self.published - last
        return found


@dataclass
class Stepped:
    """One step: what was done to it, and seconds from the switch until all clients were back."""

    lists: str
    fault: str
    took: float
    moved: int


class Campaign:
    """The instances, the rooms, and what is done to them."""

    def __init__(self, home: Path, rooms: int, rate: float) -> None:
        self.home = home
        self.rate = rate
        self.rooms = [Room(f"proof:{number}") for number in range(rooms)]
        self.redises = [Redis(_folder(home / str(number))) for number in range(3)]
        self.list = home / "redis_url"
        self.served = Served(home, CONFIG, REDIS_URL_FILE=str(self.list), REDIS_DURABLE="1")
        self.served.redis = self.redises[0]
        self.served.env["REDIS_URL"] = ""
        self.steps: list[Stepped] = []
        self._enough = False

    def urls(self, numbers: str) -> str:
        return ",".join(self.redises[int(number)].url for number in numbers)

    async def run(self, steps: Sequence[tuple[str, str, str]], pause: float) -> None:
        """Everything, to its end."""
        for redis in self.redises[1:]:
            await asyncio.to_thread(redis.start)
        self.list.write_text(self.urls(steps[0][0]))
        await asyncio.to_thread(self.served.start)
        tasks = [asyncio.create_task(self._publish(room)) for room in self.rooms]
        try:
            for room in self.rooms:
                for _ in range(2):
                    client = PythonClient(self.served.url)
                    room.clients.append(client)
                    await client.connect()
                    await client.subscribe(room.name)
            await eventually(self._all_here, "everybody has come", 120)
            for step in steps:
                await asyncio.sleep(pause)
                await self._step(*step)
            await asyncio.sleep(pause)
            self._enough = True
            await asyncio.gather(*tasks)
            await eventually(self._all_here, "everybody has all", 120)
            await self._judge_presence()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for room in self.rooms:
                for client in room.clients:
                    with suppress(Exception):
                        await client.close()

    def _all_here(self) -> bool:
        """Whether each client has its room's last publication, or a newer one."""
        return all(
            client.seen.published(room.name)[-1:] >= [max(1, room.published)]
            for room in self.rooms
            for client in room.clients
        )

    async def _step(self, old: str, new: str, fault: str) -> None:
        self.list.write_text(self.urls(new))
        lists = ("--from", self.urls(old), "--to", self.urls(new))
        began = time.monotonic()
        command = Command(self.home, self.served.env, "reshard", *lists, "--switch", "--without-waiting")
        command.start()
        await eventually(lambda: "the old layout ends" in command.said(), "the old layout ends", 120)
        if fault == "an instance is killed":
            with suppress(ProcessLookupError, KeyError):
                self.served.crash("unit-0")
        elif fault == "a Redis is killed":
            await asyncio.to_thread(self.redises[1].kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(self.redises[1].start)
        elif fault == "the command is killed":
            await asyncio.to_thread(command.kill)
        await eventually(lambda: not command.running, "the command ends", 240)
        tries = 1
        while command.exit_code != 0 and tries < 5:
            tries += 1
            command.start()
            await eventually(lambda: not command.running, "the command ends", 240)
        assert command.exit_code == 0, command.said()
        await eventually(self.served.complete, "all instances serve", 180)
        await eventually(self._all_here, "everybody is back", 120)
        took = time.monotonic() - began
        self.steps.append(Stepped(f"{len(old)} → {len(new)}", fault, took, command.moved()))
        print(f"{self.steps[-1]}, after {tries} calls", flush=True)
        await asyncio.to_thread(self._judge_keys, new)

    def _judge_keys(self, new: str) -> None:
        """No key is where nobody looks for it; on a Redis that was left there are marks alone."""
        for number, redis in enumerate(self.redises):
            if str(number) not in new:
                left = [key for key in _keys(redis) if ":layout" not in key]
                assert not left, f"left on Redis {number}: {left[:10]}"

    async def _judge_presence(self) -> None:
        gives_up, wrong = time.monotonic() + 60, self.rooms
        while wrong and time.monotonic() < gives_up:
            stats = [await asyncio.to_thread(self._ask, "presence_stats", {"channel": room.name}) for room in wrong]
            found = [((one or {}).get("result") or {}).get("num_clients") for one in stats]
            wrong = [room for room, count in zip(wrong, found, strict=True) if count != len(room.clients)]
            await asyncio.sleep(0.1)
        assert not wrong, f"presence is not true in {[room.name for room in wrong]}: {found}"

    async def _publish(self, room: Room) -> None:
        while not self._enough:
            number, gives_up = room.published + 1, time.monotonic() + SAID_WITHIN
            said = {"channel": room.name, "data": number, "idempotency_key": f"{room.name} {number}"}
            while True:
                answer = await asyncio.to_thread(self._ask, "publish", said)
                if answer is not None and "result" in answer:
                    break
                assert time.monotonic() < gives_up, f"{room.name}: {answer}"
                room.again += 1
                await asyncio.sleep(0.1)
            room.published = number
            await asyncio.sleep(1 / self.rate)

    def _ask(self, method: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.served.http}/api/{method}", json.dumps(asked).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except (urllib.error.URLError, OSError, ValueError):
            return None

    def history(self, room: Room) -> list[int]:
        """What a room's history has."""
        answer = self._ask("history", {"channel": room.name, "limit": 100_000})
        assert answer is not None
        return [one["data"] for one in answer["result"]["publications"]]

    def verdict(self) -> dict[str, int]:
        """The sums over all rooms; `history`: publications that are missing there, or twice."""
        found = {"published": 0, "again": 0, "lost": 0, "repeated": 0, "told": 0, "history": 0}
        for room in self.rooms:
            kept, wanted = self.history(room), list(range(1, room.published + 1))
            found["history"] += len(set(wanted) ^ set(kept)) + len(kept) - len(set(kept)) + (kept != sorted(kept))
            found["published"] += room.published
            found["again"] += room.again
            for name, count in room.faults().items():
                found[name] += count
        return found

    def stop(self) -> None:
        """End everything."""
        self.served.stop()
        for redis in self.redises:
            redis.stop()


class Command(Process):
    """A management command that may be killed; its log has what it says."""

    def __init__(self, home: Path, env: dict[str, str], *words: str) -> None:
        super().__init__("command", home)
        self._words = words
        self._env = env

    def start(self) -> None:
        self.log.write_text("")
        self.spawn([sys.executable, "-u", "-m", "django", *self._words], self._env, ROOT)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def moved(self) -> int:
        """How many keys it says it has moved."""
        return next((int(line.split()[0]) for line in self.said().splitlines() if "have another place" in line), 0)


def _keys(redis: Redis) -> list[str]:
    with Client(port=redis.port) as connection:
        return [key.decode() for key in connection.scan_iter(match="flotilla:*")]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


async def measured(home: Path, rooms: int, rate: float, pause: float) -> tuple[Campaign, dict[str, int]]:
    """Run it; prints progress."""
    campaign = Campaign(home, rooms, rate)
    try:
        await campaign.run(STEPS, pause)
        found = await asyncio.to_thread(campaign.verdict)
    except BaseException:
        print(campaign.served.tail(), flush=True)
        raise
    finally:
        await asyncio.to_thread(campaign.stop)
    print(found, flush=True)
    return campaign, found


def main() -> None:
    """Read the options, run, judge."""
    parser = argparse.ArgumentParser(description="More and fewer Redises under load: everybody whole, or told.")
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--rate", type=float, default=5.0, help="publications a second in each room")
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between two steps")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flotilla-reshard-") as home:
        _, found = asyncio.run(measured(Path(home), wanted.rooms, wanted.rate, wanted.pause))
    sys.exit(bool(found["lost"] or found["repeated"] or found["history"]))


if __name__ == "__main__":
    main()
