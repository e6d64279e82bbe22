"""A private Redis that can be paused, killed and brought back, and instances that can be frozen and crashed.

Times are a fifth of the real ones or so, and no shorter: a busy machine stalls for a good part of a second.
"""

import asyncio
import contextlib
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import redis

from flotilla.presence import Announcement, Presence, Reaped
from flotilla.store import Store, StoreUnavailable
from tests.store import cluster_process
from tests.store.places import STORES_OWN
from tests.store.redis_process import RedisProcess
from tests.waiting import until

TTL = 1.2
RENEW = 0.4
REAP = 0.1
TIMEOUT = 5.0 if cluster_process.CHOSEN else 1.0  # of a call to Redis; no node of a cluster is paused here
DEADLINE = 30.0


class PrivateRedis(RedisProcess):
    """A Redis that is paused, and comes back as it was when it was saved."""

    def client(self) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=DEADLINE)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def snapshot(self) -> None:
        """What it has when it is started again."""
        self.ask("SAVE")


class Ear:
    """Counts the joins and leaves that Redis told, per (scope, info)."""

    MARKS = "marks"

    def __init__(self, server: PrivateRedis) -> None:
        self._client = server.client()
        self._nodes = list(getattr(server, "clients", [self._client]))  # each passes on what it is told by the others
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe("topic/*", self.MARKS)
        assert self._pubsub.get_message(timeout=DEADLINE) and self._pubsub.get_message(timeout=DEADLINE)
        self.raw: list[tuple[str, bytes]] = []

    def listen(self) -> None:
        """Hear all that was told until now: up to a mark that is told after it, at each node."""
        marks = {secrets.token_bytes(8): node for node in self._nodes}
        for mark, node in marks.items():
            node.publish(self.MARKS, mark)
        while marks:
            message = self._pubsub.get_message(timeout=DEADLINE)
            assert message, "what is told is not heard"
            if message["channel"].decode() == self.MARKS:
                marks.pop(message["data"], None)
            elif message["type"] == "pmessage":
                self.raw.append((message["channel"].decode().removeprefix("topic/"), message["data"]))

    def _count(self, head: bytes) -> Counter[tuple[str, bytes]]:
        self.listen()
        return Counter((scope, unbin(data[1:])) for scope, data in self.raw if data[:1] == head)

    @property
    def joins(self) -> Counter[tuple[str, bytes]]:
        return self._count(b"J")

    @property
    def leaves(self) -> Counter[tuple[str, bytes]]:
        return self._count(b"L")

    def close(self) -> None:
        self._pubsub.close()
        self._client.close()


def unbin(data: bytes) -> bytes:
    """The payload of a msgpack bin."""
    size = {0xC4: 1, 0xC5: 2, 0xC6: 4}[data[0]]
    payload = data[1 + size :]
    assert int.from_bytes(data[1 : 1 + size], "big") == len(payload)
    return payload


def announce(scope: str) -> Announcement | None:
    return Announcement(f"topic/{scope}", b"J", b"L")


class Instance(Presence):
    """A Presence that notes its callbacks, and that can be frozen (SIGSTOP) and crashed (kill -9)."""

    def __init__(self, urls: list[str], name: str, **options: Any) -> None:
        self.store = Store(urls, timeout=TIMEOUT)
        self.reaped: list[Reaped] = []
        self.fencings = 0
        usual: dict[str, Any] = {"announce": announce, "lease_ttl": TTL, "renew_every": RENEW, "reap_every": REAP}
        super().__init__(
            self.store,
            instance=name,
            describe=lambda: {"instance": name},
            on_fenced=self._note_fenced,
            on_reaped=self._note_reaped,
            **usual | options,
        )

    async def _note_fenced(self) -> None:
        self.fencings += 1

    def _note_reaped(self, reaped: Reaped) -> None:
        self.reaped.append(reaped)

    @property
    def confident(self) -> bool:
        """Whether it would trust itself to declare others dead."""
        return self._continuity.unbroken(time.monotonic())

    @property
    def settled(self) -> bool:
        """Whether it holds its lease and everything it has is in Redis for sure."""
        return self.alive and not self._current.doubted and not self._current.recall

    async def freeze(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def thaw(self) -> None:
        self._begin()

    async def crash(self) -> None:
        await self.freeze()
        await self.store.close()


Maker = Callable[..., Awaitable[Instance]]


async def eventually(condition: Callable[[], bool | Awaitable[bool]], what: str = "", within: float = DEADLINE) -> None:
    """Wait for a condition; while Redis is away it does not hold."""

    async def holds() -> bool:
        with contextlib.suppress(StoreUnavailable):
            outcome = condition()
            return outcome if isinstance(outcome, bool) else await outcome
        return False

    await until(holds, what or repr(condition), within, every=0.01)


async def passes(seconds: float) -> None:
    """Let time pass, where the passing is the point: leases run out by it."""
    over = time.monotonic() + seconds
    await eventually(lambda: time.monotonic() >= over, within=seconds + DEADLINE)


def without_ttl(server: PrivateRedis) -> list[bytes]:
    """Keys that would stay for ever, beside those of the partitions, which are a fixed few."""
    with server.client() as client:
        return [key for key in of_names(client) if client.ttl(key) == -1]


def of_names(client: "redis.Redis") -> list[bytes]:
    """Every key but those of the partitions themselves, and of the layout."""
    return [key for key in client.scan_iter() if not key.startswith(STORES_OWN)]


def drifted(server: PrivateRedis) -> list[str]:
    """Scopes whose counts of users, or sets of clients, are not what their entries say."""
    found = []
    with server.client() as client:
        for key in client.scan_iter(match="flotilla:[pu]u:*"):
            entries: dict[bytes, bytes] = client.hgetall(key[:10] + b"c" + key[11:])
            users = Counter(_user(value) for value in entries.values())
            counted = {user: int(count) for user, count in client.hgetall(key).items()}
            if dict(users) != counted:
                found.append(f"{key!r}: entries {users}, counts {counted}")
    return found


def _user(value: bytes) -> bytes:
    _, length, rest = value.split(b"\n", 2)
    return rest[: int(length)]


async def fill(instance: Instance, scope: str, *clients: str) -> None:
    """Enter some connections, each of a user of its own."""
    await asyncio.gather(*(instance.add(scope, client, f"user-{client}", client.encode()) for client in clients))


async def gone(instance: Instance, *clients: str, scope: str) -> None:
    """Wait until none of them is present."""

    async def none_left() -> bool:
        return not set(clients) & set(await instance.members(scope))

    await eventually(none_left, f"{clients} gone")
