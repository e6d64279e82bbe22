"""A probe tries on one Redis what the product does there, with the product's own scripts, on keys of its own.

Clients see nothing of it, and nothing stays longer than KEPT. A failure raises Unready: it has the error's code, which
anybody may know, and one line for the log that says which Redis, what is missing, and what to do.
"""

import asyncio
import secrets
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

from flotilla.monitoring.echo import Echo
from flotilla.monitoring.mends import mend
from flotilla.monitoring.rights import KEPT, Command, ProbeKeys, commands, commands_of_limits
from flotilla.presence import keys as presence_keys
from flotilla.presence.entries import ADD, DROP, ENTER
from flotilla.presence.scopes import Scope
from flotilla.ratelimit import keys as limit_keys
from flotilla.realtime.engine import calls
from flotilla.realtime.node.control import ANSWER
from flotilla.store import Script, Shard, StoreRefused, StoreUnavailable, placement_of
from flotilla.store.conf import get_store_config
from flotilla.store.errors import MOVED
from flotilla.store.nodes import node_of
from flotilla.store.resp import Argument
from flotilla.store.urls import in_cluster

_HEALTH = Script.load("flotilla.monitoring", "health")
_TAKE, _SYNC = (Script.load("flotilla.ratelimit", name) for name in ("take", "sync"))
_CHANNEL = SimpleNamespace(history_size=1, history_ttl=KEPT / 1000, history_meta_ttl=KEPT / 1000)
# The same scripts, without waiting for what the real partitions are compared for.
_PUBLISH, _HISTORY, _CONFIRM = (
    Script(script.name, script.text) for script in (calls.PUBLISH, calls.HISTORY, calls.CONFIRM)
)
_OF_LIMITS = "the Redis of the limits"
_GENERATION = "health"
_INCARNATION = "health"
_PROCESS = secrets.token_hex(8)
FOLLOWED = 5  # times that a slot which has moved is followed before that is a fault
FOLLOWED_EVERY = 0.1  # seconds


class Unready(Exception):
    """A Redis that cannot be used; `code` is the error's first word, the text has no secrets but names of commands."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ShardProbe:
    """Tries one Redis of REDIS_URL, with a name that lives there, for in a cluster it has no others. `of_leases`: it is
    the first, where one script takes keys of two hash tags."""

    def __init__(self, shard: Shard, name: str, *, of_leases: bool) -> None:
        self._shard = shard
        self._echo = Echo(shard)
        self._of_leases = of_leases
        self._name = name
        self._home = placement_of(name)
        self._keys = ProbeKeys.of(self._home)

    async def run(self) -> None:
        """Raises Unready, or StoreUnavailable where Redis does not answer."""
        for again in range(FOLLOWED, -1, -1):
            said = secrets.token_hex(8).encode()
            try:
                return await self._echo.hears(self._home.topic, said, partial(self._try_everything, said))
            except StoreRefused as error:
                if not (again and error.code == MOVED and in_cluster(self._shard.url)):
                    raise self._unready(error) from error
            await asyncio.sleep(FOLLOWED_EVERY)

    def held(self) -> Unready | None:
        """Why there is no answer, where calls are held: their slot is on its way, or nobody has it."""
        error = self._shard.held_for
        return None if error is None else self._unready(error)

    def _unready(self, error: StoreRefused) -> Unready:
        node = node_of(self._shard)  # users and their rights are each node's own
        return unready(f"Redis {self._shard.index}" + (f" at {node}" if node else ""), error)

    async def _try_everything(self, said: bytes) -> None:
        """All calls leave in one write, so that they cost one round trip."""
        found = await _all(self._commands(), *self._streams(said), *self._presence(), *self._outside())
        page, _ = calls.read_history(found[3])
        if not any(said in publication.body for publication in page.publications):
            raise StoreUnavailable("Redis did not give back what was published")

    def _commands(self) -> "asyncio.Future[Any]":
        tried = commands(self._keys, self._home.topic, int(time.time() * 1000))
        return self._shard.start(_HEALTH, self._keys, _flat(tried))

    def _streams(self, said: bytes) -> list["asyncio.Future[Any]"]:
        """A publication with history, read, and confirmed, in a partition that is there for this alone."""
        partition, made = self._home.key("health-partition"), self._home.key("health-made")
        publish = calls.publish(self._name, b'{"data":"' + said + b'"}', _CHANNEL, idempotency_key="once")
        history = calls.history(self._name, _CHANNEL, limit=1)
        confirm = calls.confirm(self._name, "nonce", _CHANNEL)
        streams, once = publish.keys[:2], publish.keys[4]
        begin: list[Command] = [
            ("del", partition, made, *streams, once),
            ("hset", partition, "g", _GENERATION, "s", int(time.time() * 1000)),
            ("setbit", made, 0, 0),
            ("pexpire", partition, KEPT),
            ("pexpire", made, KEPT),
        ]
        whole = (partition, made)
        args = (*publish.args[:5], KEPT, *publish.args[6:])
        return [
            self._shard.start(_HEALTH, (*whole, *streams, once), _flat(begin)),
            self._shard.start(_PUBLISH, (*streams, *whole, once), args),
            self._shard.start(_HISTORY, (*history.keys[:2], *whole), history.args),
            self._shard.start(_CONFIRM, (*confirm.keys[:1], *whole), confirm.args),
        ]

    def _presence(self) -> list["asyncio.Future[Any]"]:
        """A connection enters a channel and leaves it; and the script with keys of two tags, which finds no lease."""
        names = presence_keys.home_of(Scope.channel(self._name)).of(_INCARNATION)
        entry: list[Argument] = [_INCARNATION, 1, KEPT // 1000, "client", "user", b"", "", b"", 0, "", "", b""]
        leaving: list[Argument] = [_INCARNATION, 1, "", b"", KEPT // 1000, "", "", b"", "client", "user", b"", b""]
        tried = [
            self._shard.start(ADD, names, entry),
            self._shard.start(DROP, names, leaving),
        ]
        if self._of_leases:
            registry = presence_keys.registry(_INCARNATION)
            tried.append(self._shard.start(ENTER, [*names, *registry], [*entry, Scope.channel(self._name)]))
            tried.append(self._shard.start(ANSWER, [self._keys.list], [b"answer", KEPT // 1000]))
        return tried

    def _outside(self) -> list["asyncio.Future[Any]"]:
        """Commands that connections send themselves. The list has entries, so BLPOP does not wait."""
        return [
            self._shard.call("EVAL", "return 1", 0),
            self._shard.call("SCRIPT", "LOAD", "return 1"),
            self._shard.call("INFO", "server"),
            self._shard.call("BLPOP", self._keys.list, 0.01),
        ]


class LimitsProbe:
    """Tries the Redis of the limits. One that is away does not fail: each policy says what happens then."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        name = f"{get_store_config().prefix}:health:{_PROCESS}"
        self._keys = ProbeKeys(*(f"{limit_keys.TAG}:{name}:{kind}" for kind in ProbeKeys._fields))

    async def run(self) -> None:
        """Raises Unready where Redis answers with an error."""
        keys = self._keys
        used = [keys.string, keys.sorted]
        take: list[Argument] = [2, "g", 1, 0, 16, 1, 0, 0, "s", 1, 0, 1_000_000, 10, 1000, 0]
        try:
            await _all(
                self._shard.start(_HEALTH, used, _flat(commands_of_limits(keys))),
                self._shard.start(_TAKE, [keys.bits, keys.hash], take),
                self._shard.start(_SYNC, [keys.string, keys.set, keys.list], ["health", KEPT, 1, KEPT // 1000, "p", 1]),
                self._shard.call("EVAL", "return 1", 0),
                self._shard.call("SCRIPT", "LOAD", "return 1"),
                self._shard.call("INFO", "server"),
            )
        except StoreRefused as error:
            raise unready(_OF_LIMITS, error) from error
        except StoreUnavailable:
            return

    def held(self) -> Unready | None:
        """As of a ShardProbe."""
        error = self._shard.held_for
        return None if error is None else unready(_OF_LIMITS, error)


async def _all(*answers: "asyncio.Future[Any]") -> list[Any]:
    """What Redis answered. Raises the first error, and before any StoreRefused for the rights that the first answer,
    of `health.lua`, says are missing."""
    found: list[Any] = await asyncio.gather(*answers, return_exceptions=True)
    if found[0] and not isinstance(found[0], BaseException):
        raise lacking(found[0])
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome
    return found


def lacking(missing: list[bytes]) -> StoreRefused:
    """The error for rights that a check's script did not have."""
    told = " ".join(sorted({right.decode() for right in missing}))
    return StoreRefused("NOPERM", f"NOPERM its user lacks {told}")


def unready(which: str, error: StoreRefused) -> Unready:
    """A refusal in one line, with what to do about it."""
    return Unready(error.code, f"{which}: {error.text}; {mend(error.code, error.text)}")


def _flat(tried: list[Command]) -> list[Argument]:
    return [word for command in tried for word in (len(command), *command)]
