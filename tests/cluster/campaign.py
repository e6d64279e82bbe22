"""The long proof that nothing is lost: `make campaign`.

200 subscribers and 10 publishers on two instances behind one address, 20,000 publications, while an instance is killed
with SIGKILL and started again, three times. Every publication must reach every subscriber once and in order. Publishers
repeat what was not answered, under the same idempotency key; subscribers come back and recover as the SDKs do.

Prints the counts of gaps, duplicates and reorders; the exit status is 1 unless all are 0.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import websockets
from websockets.asyncio.client import connect

from harness import API_KEY, Served

CHANNEL = "proof:room"
CONFIG: dict[str, Any] = {
    "anonymous": True,
    "show_instance": True,
    "recovery_max_publications": 100_000,
    "recovery_max_bytes": 64 * 2**20,
    "max_outgoing_bytes": 64 * 2**20,
    "namespaces": {
        "proof": {
            "history_size": 100_000,
            "history_ttl": "1h",
            "force_recovery": True,
            "presence": True,
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
    },
}


@dataclass
class Subscriber:
    """A client of the protocol that comes back by itself. `offsets`: what was delivered, in order."""

    url: str
    channel: str = CHANNEL
    offsets: list[int] = field(default_factory=list)
    epoch: str = ""
    offset: int = 0
    reconnects: int = -1
    unrecovered: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                async with connect(self.url, max_size=None, compression=None, proxy=None, open_timeout=5) as socket:
                    self.reconnects += 1
                    await self._stay(socket)
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            self.lost()
            await asyncio.sleep(random.uniform(0.1, 0.6))

    def lost(self) -> None:
        """The connection has ended, or there was none to be had."""

    async def _stay(self, socket: websockets.asyncio.client.ClientConnection) -> None:
        wish: dict[str, Any] = {"channel": self.channel}
        if self.epoch:
            wish |= {"recover": True, "epoch": self.epoch, "offset": self.offset}
        await socket.send('{"id":1,"connect":{}}\n' + json.dumps({"id": 2, "subscribe": wish}))
        async for text in socket:
            for line in str(text).split("\n"):
                message = json.loads(line)
                if not message:
                    await socket.send("{}")
                elif "error" in message or message.get("push", {}).get("unsubscribe"):
                    return
                elif "connect" in message:
                    self.connected(message["connect"])
                elif "subscribe" in message:
                    self.subscribed(message["subscribe"])
                elif publication := message.get("push", {}).get("pub"):
                    self._take(publication)

    def connected(self, result: dict[str, Any]) -> None:
        """The reply to connect."""

    def subscribed(self, result: dict[str, Any]) -> None:
        """The reply to subscribe."""
        if result.get("was_recovering") and not result.get("recovered"):
            self.unrecovered += 1
        for publication in result.get("publications", ()):
            self._take(publication)
        if not self.epoch:
            self.offset = result.get("offset", 0)
        self.epoch = result["epoch"]
        self.ready.set()

    def _take(self, publication: dict[str, Any]) -> None:
        self.offset = publication["offset"]
        self.offsets.append(self.offset)


def publish(served: Served, key: str) -> int:
    """Publish once, however often it must be asked; returns the offset."""
    body = json.dumps({"channel": CHANNEL, "data": {"key": key}, "idempotency_key": key}).encode()
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{served.http}/api/publish", body, headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=3) as response:
                answer = json.load(response)
            if "result" in answer:
                return int(answer["result"]["offset"])
        except (urllib.error.URLError, OSError, ValueError):
            pass
        time.sleep(0.05)


@dataclass
class Faults:
    """What went wrong, over all subscribers."""

    gaps: int = 0
    duplicates: int = 0
    reorders: int = 0

    def count(self, offsets: list[int], total: int) -> None:
        """Compare what one subscriber got with 1..total."""
        self.gaps += total - len(set(offsets))
        self.duplicates += len(offsets) - len(set(offsets))
        self.reorders += sum(1 for before, after in pairwise(offsets) if after < before)


async def campaign(publications: int, subscribers: int, publishers: int, kills: int, home: Path) -> Faults:
    """Run it; prints progress."""
    served = Served(home, CONFIG)
    await asyncio.to_thread(served.start)
    began = time.monotonic()
    try:
        crowd = [Subscriber(served.url) for _ in range(subscribers)]
        tasks = [asyncio.create_task(one.run()) for one in crowd]
        await asyncio.wait_for(asyncio.gather(*(one.ready.wait() for one in crowd)), 60)
        print(f"{subscribers} subscribers are in; publishing {publications}", flush=True)
        done = 0

        async def publisher(number: int) -> None:
            nonlocal done
            for index in range(number, publications, publishers):
                await asyncio.to_thread(publish, served, f"{number}-{index}")
                done += 1

        async def killer() -> None:
            for kill in range(kills):
                while done < publications * (kill + 1) / (kills + 1):
                    await asyncio.sleep(0.05)
                names = sorted(served.pids())
                print(f"{done} published: killing {names[kill % len(names)]} ({kill + 1} of {kills})", flush=True)
                served.crash(names[kill % len(names)])
                while not await asyncio.to_thread(served.complete):
                    await asyncio.sleep(0.1)

        async def progress() -> None:
            while True:
                await asyncio.sleep(5)
                least = min(len(one.offsets) for one in crowd)
                print(f"  {time.monotonic() - began:5.0f} s  {done} published, all have {least}", flush=True)

        showing = asyncio.create_task(progress())
        await asyncio.gather(*(publisher(number) for number in range(publishers)), killer())
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and any(one.offset < publications for one in crowd):
            await asyncio.sleep(0.1)
        for task in (*tasks, showing):
            task.cancel()
        await asyncio.gather(*tasks, showing, return_exceptions=True)
    finally:
        await asyncio.to_thread(served.stop)
    faults = Faults()
    for one in crowd:
        faults.count(one.offsets, publications)
    reconnects = sum(one.reconnects for one in crowd)
    unrecovered = sum(one.unrecovered for one in crowd)
    print(
        f"{publications} publications to {subscribers} subscribers, {kills} kills, {reconnects} reconnects, "
        f"{unrecovered} not recovered, in {time.monotonic() - began:.0f} s\n"
        f"gaps {faults.gaps}, duplicates {faults.duplicates}, reorders {faults.reorders}",
        flush=True,
    )
    return faults


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Nothing is lost while instances die.")
    parser.add_argument("--publications", type=int, default=20_000)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--publishers", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flotilla-campaign-") as home:
        faults = asyncio.run(
            campaign(wanted.publications, wanted.subscribers, wanted.publishers, wanted.kills, Path(home))
        )
    sys.exit(faults != Faults())


if __name__ == "__main__":
    main()
