"""The outbox through restarts and kills: `make outbox`, on PostgreSQL and on SQLite.

Two instances, in one of which the relay runs, and processes without a server that publish durably in concurrent
transactions: 10,000 messages to 20 channels, a third of them rolled back. Meanwhile whoever relays is killed three
times, and Redis is restarted twice, once from an older snapshot. Then each channel's history must be exactly what was
committed, in the order of the commits, and two subscribers must have got it so: nothing lost, doubled or disordered.

The order of the commits is known without the outbox: PostgreSQL keeps the time of each (`track_commit_timestamp`); in
SQLite, which has one writer at a time, it is that of the rows which the writers note in the same transactions.
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.cluster.campaigns.outbox_verdict import history_faults, span_faults, spans
from tests.cluster.campaigns.outbox_writer import CHANNELS
from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import CONFIG, Cluster, manage
from tests.cluster.support.processes import Process, eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.sdk import PythonClient
from tests.host.support.postgres import Postgres, programs

SETTINGS = "tests.cluster.support.cardapp.settings"
NAMESPACE = {
    "history_size": 20_000,
    "history_ttl": "2h",
    "force_recovery": True,
    "allow_subscribe_for_client": True,
    "allow_history_for_client": True,
}
WRITERS = {"postgresql": (2, 8), "sqlite": (2, 3)}  # processes, and threads of each
RELAYED_WITHIN = 60.0  # seconds after a kill until another relays
DRAINED_WITHIN = 240.0  # seconds after the last message until all is sent, and sent again
PAGE = 1000
COMMITTED = {
    "postgresql": "SELECT channel, number FROM cardapp_note ORDER BY pg_xact_commit_timestamp(xmin), id",
    "sqlite": "SELECT channel, number FROM cardapp_note ORDER BY id",
}
# In this order, each when that share of the messages was written.
Steps = tuple[tuple[float, str], ...]
STEPS: Steps = (
    (0.08, "kill the relay"),
    (0.20, "restart Redis"),
    (0.34, "kill the relay while Redis is away"),
    (0.50, "keep a snapshot"),
    (0.62, "restart Redis from the snapshot"),
    (0.66, "kill the relay"),
)


class Database:
    """Where the rows are, asked past Django."""

    def __init__(self, kind: str, home: Path) -> None:
        self.kind = kind
        self._file = home / "db.sqlite3"
        self._server: Postgres | None = None
        if kind == "postgresql":
            folder = programs()
            assert folder is not None, "PostgreSQL is not installed"
            self._server = Postgres(home, folder, "track_commit_timestamp=on", "max_connections=120")

    @property
    def url(self) -> str:
        """As `DATABASE_URL` has it."""
        return self._server.url if self._server is not None else f"sqlite:///{self._file}"

    def start(self) -> None:
        if self._server is not None:
            self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        if self._server is not None:
            with psycopg.connect(self._server.url) as connection:
                return connection.execute(query).fetchall()
        connection = sqlite3.connect(self._file, timeout=20)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def committed(self) -> dict[str, list[int]]:
        """The messages of each channel, in the order of the commits."""
        found: dict[str, list[int]] = defaultdict(list)
        for channel, number in self.rows(COMMITTED[self.kind]):
            found[channel].append(number)
        return found

    def waiting(self) -> int:
        """How many rows are not sent."""
        return int(self.rows("SELECT count(*) FROM flotilla_outbox WHERE sent_at IS NULL")[0][0])

    def relay(self) -> str:
        """Which instance relays; "" when none does."""
        rows = self.rows("SELECT holder FROM flotilla_outbox_relay WHERE until > CURRENT_TIMESTAMP")
        return str(rows[0][0]) if rows else ""


class Crew(Process):
    """A process of writers."""

    def __init__(self, number: int, home: Path) -> None:
        super().__init__(f"writers-{number}", home)

    def said(self) -> list[dict[str, Any]]:
        """What it has said so far."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def written(self) -> int:
        """How many messages it has written."""
        return max((line["written"] for line in self.said() if "written" in line), default=0)

    @property
    def tallies(self) -> list[dict[str, Any]]:
        """By thread, when it has ended: what became of them."""
        found: list[dict[str, Any]] = next((line["tallies"] for line in self.said() if "tallies" in line), [])
        return found


class Campaign:
    """One run. `faults` is empty when all was well; `said` is what was measured."""

    def __init__(self, home: Path, kind: str, messages: int, rate: float, seed: int, steps: Steps = STEPS) -> None:
        self._steps = steps
        self.faults: list[str] = []
        self.said: dict[str, Any] = {"database": kind, "seed": seed}
        self._rate, self._seed = rate, seed
        self.database = Database(kind, home)
        config = CONFIG | {"max_channels": 40, "namespaces": {"outbox": NAMESPACE, "cards": NAMESPACE}, "abuse": None}
        more = {"DJANGO_SETTINGS_MODULE": SETTINGS, "DATABASE_URL": self.database.url}
        self.cluster = Cluster(home, config, "flotilla", "flotilla", **more)
        self._crews = [Crew(number, home) for number in range(WRITERS[kind][0])]
        self._threads = WRITERS[kind][1]
        writers = len(self._crews) * self._threads
        self._messages = messages // writers * writers
        self._tops: dict[str, tuple[str, int]] = {}  # of each channel's stream
        self._snapshot: Path | None = None
        self._kills = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything is there, and ended in any case."""
        self.database.start()
        try:
            manage(self.cluster.env, "migrate", "--verbosity", "0")
            self.cluster.redis.start()
            for instance in self.cluster.instances:
                instance.start()
            yield
        finally:
            for process in (*self._crews, *self.cluster.instances, self.cluster.redis, self.database):
                process.stop()

    async def run(self) -> None:
        """All of it, in a running world."""
        instances = self.cluster.instances
        clients = [PythonClient(one.url, lambda _: token("reader"), f"client of {one.name}") for one in instances]
        try:
            for client in clients:
                await client.connect()
                await client.seen.event("connected")
                for channel in CHANNELS:
                    await client.subscribe(channel)
                seen = client.seen
                await eventually(lambda seen=seen: len(seen.named("subscribed")) >= len(CHANNELS), "all are subscribed")
            self._write()
            for share, step in self._steps:
                await self._reach(share * self._messages)
                await self._step(step)
            await self._reach(self._messages)
            await eventually(lambda: all(crew.tallies or not crew.running for crew in self._crews), "the writers end")
            ended = time.monotonic()
            for instance in self.cluster.instances:
                await asyncio.to_thread(instance.wait_ready)
            expected = self.database.committed()
            self._check_writers(expected)
            await self._check_history(expected)
            self.said["drained_after"] = round(time.monotonic() - ended, 1)
            await self._check_clients(expected, clients)
        finally:
            for client in clients:
                await client.close()

    def _write(self) -> None:
        each = self._messages // len(self._crews)
        for number, crew in enumerate(self._crews):
            words = {"first": number * each, "messages": each, "threads": self._threads, "seed": self._seed}
            words |= {"rate": self._rate / len(self._crews)}
            options = [word for name, value in words.items() for word in (f"--{name}", str(value))]
            crew.spawn([sys.executable, "-m", "tests.cluster.campaigns.outbox_writer", *options], self.cluster.env)

    async def _reach(self, written: float) -> None:
        def far_enough() -> bool:
            return sum(crew.written for crew in self._crews) >= written or not any(crew.running for crew in self._crews)

        await eventually(far_enough, f"{written:.0f} messages are written", 600)

    # ---- the faults

    async def _step(self, step: str) -> None:
        print(f"{sum(crew.written for crew in self._crews):6d} written: {step}", flush=True)
        redis = self.cluster.redis
        match step:
            case "kill the relay":
                await self._kill()
            case "restart Redis":
                await asyncio.to_thread(redis.kill)
                await asyncio.to_thread(redis.start)
            case "kill the relay while Redis is away":
                await asyncio.to_thread(redis.kill)
                await self._kill()
                await asyncio.to_thread(redis.start)
            case "keep a snapshot":
                self._snapshot = await asyncio.to_thread(redis.snapshot)
            case "restart Redis from the snapshot":
                await asyncio.to_thread(redis.restore, self._snapshot)

    async def _kill(self) -> None:
        """Kill the instance that relays, and start it again."""
        name = await self._whoever_relays()
        (instance,) = (one for one in self.cluster.instances if name.startswith(one.name))
        await asyncio.to_thread(instance.kill)
        self._kills += 1
        instance.launch()

    async def _whoever_relays(self) -> str:
        found: str = await eventually(self.database.relay, "somebody relays", RELAYED_WITHIN)
        return found

    # ---- the verdict

    def _check_writers(self, expected: dict[str, list[int]]) -> None:
        tallies = [tally for crew in self._crews for tally in crew.tallies]
        total = {name: sum(tally[name] for tally in tallies) for name in ("written", "committed", "undone")}
        self.said |= total | {"transactions": sum(tally["transactions"] for tally in tallies), "kills": self._kills}
        self.faults += [f"a writer: {tally['error']}" for tally in tallies if tally["error"]]
        if total["written"] != self._messages:
            self.faults.append(f"only {total['written']} messages were written")
        noted = sum(map(len, expected.values()))
        if noted != total["committed"]:
            self.faults.append(f"{noted} notes of {total['committed']} committed messages: the campaign is wrong")

    async def _check_history(self, expected: dict[str, list[int]]) -> None:
        """Wait until history is what was committed; else say what is wrong with it in the end."""
        deadline = time.monotonic() + DRAINED_WITHIN
        while True:
            found = await self._history()
            faults = {channel: history_faults(expected[channel], found[channel]) for channel in CHANNELS}
            if not any(faults.values()):
                break
            if time.monotonic() > deadline:
                self.faults += [f"history of {name}: {fault}" for name, wrong in faults.items() for fault in wrong]
                self.faults.append(f"{self.database.waiting()} rows wait")
                break
            await asyncio.sleep(0.5)

    async def _history(self) -> dict[str, list[int]]:
        async with Api(self.cluster[0].http) as api:
            return {channel: await self._history_of(api, channel) for channel in CHANNELS}

    async def _history_of(self, api: Api, channel: str) -> list[int]:
        found: list[int] = []
        since: dict[str, Any] | None = None
        while True:
            body = {"channel": channel, "limit": PAGE} | ({"since": since} if since else {})
            page = (await api.post("history", body))["result"]
            found += [publication["data"]["n"] for publication in page["publications"]]
            self._tops[channel] = generation(page["epoch"]), page["offset"]
            if len(page["publications"]) < PAGE:
                return found
            since = {"offset": page["publications"][-1]["offset"], "epoch": page["epoch"]}

    async def _check_clients(self, expected: dict[str, list[int]], clients: list[PythonClient]) -> None:
        def behind() -> list[str]:
            """Subscriptions that do not stand at the top of their channel's stream."""
            last = {(c.name, channel): list(spans(c.seen.events, channel))[-1] for c in clients for channel in CHANNELS}
            found = {place: (generation(span.epoch), span.offset + len(span.got)) for place, span in last.items()}
            return [
                f"{place} is at {at} of {self._tops[place[1]]}"
                for place, at in found.items()
                if at != self._tops[place[1]]
            ]

        try:
            await eventually(lambda: not behind(), "the subscribers have got the newest of each channel", 60)
        except AssertionError:
            self.faults += behind()
        self.said["delivered"] = 0
        for client in clients:
            for channel in CHANNELS:
                heard = list(spans(client.seen.events, channel))
                self.said["delivered"] += sum(len(span.got) for span in heard)
                faults = span_faults(expected[channel], heard)
                self.faults += [f"a subscriber of {channel}: {fault}" for fault in faults]


def generation(epoch: str) -> str:
    """What changes when something was lost. Who subscribes before there is a stream may have an epoch whose other part
    is older than the stream's (`flotilla.realtime.engine.epochs`)."""
    return epoch.partition(".")[0]


def prove(home: Path, kind: str, messages: int, rate: float, seed: int, steps: Steps = STEPS) -> Campaign:
    """A whole run on one database."""
    campaign = Campaign(home, kind, messages, rate, seed, steps)
    with campaign.running():
        asyncio.run(campaign.run())
    return campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--database", choices=WRITERS, default=None, help="one of the two (both)")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=120.0, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    status = 0
    for kind in [options.database] if options.database else WRITERS:
        with tempfile.TemporaryDirectory(prefix="flotilla-outbox-") as home:
            campaign = prove(Path(home), kind, options.messages, options.rate, options.seed)
        print(json.dumps(campaign.said))
        print("\n".join(campaign.faults) or "exactly what was committed, once, in the order of the commits", flush=True)
        status |= bool(campaign.faults)
    return status


if __name__ == "__main__":
    sys.exit(main())
