"""More or fewer Redises: what `manage.py reshard` does, a step at a time, on the Redises themselves.

The steps are marks that all processes heed (`flotilla.store.layout`): a Redis that is new is *held* until everything is
there; then the old layout is *ending*, and who uses it leaves; when nobody does, it is held, what has another place is
copied there and then deleted here, and the old layout is *open* for the next one. At each step all processes use the
old layout, or none does, or all use the new one; so a step that was cut short is done again, or taken back (`abort`)
as long as nothing was deleted.

Every method raises StoreUnavailable.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from channels_redis.utils import _consistent_hash as layer_hash
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.store import Script, placement_of
from flotilla.store.conf import get_store_config
from flotilla.store.errors import from_client
from flotilla.store.layout import ENDING, HELD, KINDS, LASTS, OPEN
from flotilla.store.partitions import Partitions
from flotilla.store.placement import PARTITIONS, partition_placement
from flotilla.store.pools import options_of, sync_client

SETTLE = Script.load("flotilla.realtime.api", "settle")
ANSWERS_WITHIN = 10.0  # seconds of one call
BATCH = 500  # keys in one round trip
LOOK_EVERY = 0.05  # seconds
_LAYOUT, _USERS, _WAITING = KINDS


class Refused(Exception):
    """This step may not be done now; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A Redis: `places` has its numbers in the old and the new list (None: it is not in it), `of` how many the layout
    that it has a mark of has (0: none), `state` what was begun here, `users` and `waiting` how many processes use it or
    want to, by what they want (number/of)."""

    places: tuple[int | None, int | None]
    of: int
    state: str
    users: int
    waiting: dict[str, int] = field(default_factory=dict)


class Server:
    """One Redis of either list."""

    def __init__(self, url: str) -> None:
        self.old: int | None = None
        self.new: int | None = None
        self._client = sync_client(url, **options_of(ANSWERS_WITHIN, Retry(NoBackoff(), 0)))

    def __call__(self, *command: Any) -> Any:
        """One command's raw reply."""
        return self.many([command])[0]

    def many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Commands in one round trip; the first error among the replies is raised."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return pipe.execute()
        except (RedisError, OSError) as error:
            raise from_client(error) from error

    @property
    def identity(self) -> tuple[str, int]:
        """The same for each address of one Redis: its run, and the number of the database."""
        return self.run, int(self._client.connection_pool.connection_kwargs.get("db", 0) or 0)

    @property
    def run(self) -> str:
        """Its run, by its run_id."""
        try:
            connection = self._client.connection_pool.make_connection()
            try:
                connection.send_command("INFO", "server")
                info = connection.read_response()
            finally:
                connection.disconnect()
        except (RedisError, OSError) as error:
            raise from_client(error) from error
        return Partitions().run_of(info)

    def close(self) -> None:
        self._client.close()


class Resharding:
    """From the Redises `old` to the Redises `new`; `tell` gets a line about each step."""

    def __init__(self, old: Sequence[str], new: Sequence[str], tell: Callable[[str], object] = print) -> None:
        self.prefix = get_store_config().prefix
        self._tell = tell
        self.servers: list[Server] = []
        known: dict[tuple[str, int], Server] = {}
        for urls, attribute in ((old, "old"), (new, "new")):
            for number, url in enumerate(urls):
                server = Server(url)
                self.servers.append(server)
                same = known.setdefault(server.identity, server)
                if same is not server:
                    self.servers.pop().close()
                if getattr(same, attribute) is not None:
                    raise Refused("two addresses of one list are the same Redis: write each once")
                setattr(same, attribute, number)
        self._of = len(new)
        self._layout, self._users, self._waiting = (partition_placement(0).partition_key(kind) for kind in KINDS)
        self._name = re.compile(
            rf"{re.escape(self.prefix)}:(?P<kind>.*?):\{{(?:p(?P<partition>\d+)\}}(?::(?P<tag>[0-9a-f]{{20}}(?:\.\w{{4}})?))?|\w+\}})",
            re.DOTALL,
        )

    def close(self) -> None:
        """Close all connections."""
        for server in self.servers:
            server.close()

    @property
    def old(self) -> list[Server]:
        return [server for server in self.servers if server.old is not None]

    @property
    def new(self) -> list[Server]:
        """In the order of the list."""
        return sorted((server for server in self.servers if server.new is not None), key=lambda server: server.new or 0)

    # Looking

    def look(self) -> list[Seen]:
        """Each Redis as it is now."""
        return [self._seen(server) for server in self.servers]

    def _seen(self, server: Server) -> Seen:
        seconds, micros = server("TIME")
        now = f"({int(seconds) * 1000 + int(micros) // 1000}"
        (ids, state), users, wanting = server.many(
            [
                ("HMGET", self._layout, "ids", "state"),
                ("ZCOUNT", self._users, now, "+inf"),
                ("ZRANGEBYSCORE", self._waiting, now, "+inf"),
            ]
        )
        waiting: dict[str, int] = {}
        for one in wanting:
            wanted = one.decode().partition(" ")[2]
            waiting[wanted] = waiting.get(wanted, 0) + 1
        of = len(ids.split(b",")) if ids else 0
        return Seen((server.old, server.new), of, (state or b"").decode(), int(users), waiting)

    @property
    def moved(self) -> bool:
        """Whether something was deleted already: there is no way back then."""
        return any(server("HEXISTS", self._layout, "moved") for server in self.old)

    # Steps

    def prepare(self) -> None:
        """Hold the Redises that are new, so that no process begins the new layout too early."""
        marks = {tuple(server("HMGET", self._layout, "ids", "state")) for server in self.new}
        ids, state = marks.pop()
        if not marks and ids and not state and len(ids.split(b",")) == self._of != len(self.old):
            raise Refused("the new layout has begun already: nothing is left to do")
        for server, seen in zip(self.servers, self.look(), strict=True):
            which = f"Redis {server.new} of the new list"
            if server.old is None and not seen.state:
                if seen.of or seen.users:
                    raise Refused(f"{which} is a Redis of another cluster that has the same prefix ({self.prefix})")
                if next(self._keys(server), None) is not None:
                    raise Refused(
                        f"{which} has keys of the prefix {self.prefix} from an earlier time: remove them first "
                        f"(redis-cli --scan --pattern '{self.prefix}:*')"
                    )
        for server in self.servers:
            if server.old is None:
                server("HSET", self._layout, "state", HELD)

    def end(self, within: float) -> None:
        """Have every process leave the old layout: in order for `within` seconds, and then at once."""
        for server, seen in zip(self.servers, self.look(), strict=True):
            if server.old is not None and seen.of and seen.of != len(self.old):
                raise Refused(
                    f"Redis {server.old} belongs to a layout of {seen.of} Redises, and --from names {len(self.old)}"
                )
        if not self._left(0):
            for server in self.old:
                server.many([("HSETNX", self._layout, "state", ENDING)])
            self._tell("the old layout ends: instances send their clients away")
            self._left(within)
        for server in self.old:
            server("HSET", self._layout, "state", HELD)
        if not self._left(LASTS + 1.0):
            raise Refused("there are still processes that use the old layout: try again, or --abort")

    def _left(self, within: float) -> bool:
        """Whether nobody uses the old layout any more."""
        gives_up = time.monotonic() + within
        while True:
            users = max(self._seen(server).users for server in self.old)
            if not users or time.monotonic() >= gives_up:
                return not users
            time.sleep(LOOK_EVERY)

    def move(self) -> int:
        """Bring everything that has another place to it: how many keys. Nobody may use any Redis meanwhile."""
        if any(seen.state != HELD or seen.users for seen in self.look()):
            raise Refused("a Redis is in use: begin again")
        epochs: dict[tuple[int, int], bytes] = {}
        moved = 0
        for server in self.old:
            for batch in self._leaving(server):
                moved += self._copy(server, batch, epochs)
            self._move_partitions(server)
        for server in self.old:
            server("HSET", self._layout, "moved", 1)
        for server in self.old:
            for batch in self._leaving(server):
                server.many([("UNLINK", key) for key, _ in batch])
            if server.new is None:
                for keys in _batches(self._keys(server)):
                    server.many([("UNLINK", key) for key in keys])
        return moved

    def open(self) -> None:
        """Let the new layout begin."""
        for server in self.new:
            if server.old is None:
                server("HDEL", self._layout, "state")
        for server in self.old:
            if server.new is not None:
                server("HSET", self._layout, "state", OPEN)

    def abort(self) -> None:
        """Go back to the old layout, and remove what was copied. Raises Refused where it is too late."""
        if self.moved:
            raise Refused("the old places are being cleared already: go on with --switch")
        seen = list(zip(self.servers, self.look(), strict=True))
        if not any(one.state for _, one in seen):
            raise Refused("nothing was begun, or the new layout is in use already: then reshard again, the other way")
        for server, one in seen:
            if (server.old is not None and one.of not in (0, len(self.old))) or (server.old is None and one.users):
                raise Refused("the new layout is in use already: to go back, reshard again, the other way")
        for server in self.old:
            for keys in _batches(
                key for key in self._keys(server) if self._place(key, len(self.old)) not in (None, server.old)
            ):
                server.many([("UNLINK", key) for key in keys])
        for server in self.servers:
            if server.old is None:
                for keys in _batches(self._keys(server)):
                    server.many([("UNLINK", key) for key in keys])
                server("DEL", self._layout)
        for server in self.old:
            server("HDEL", self._layout, "state")

    # Moving

    def stray(self) -> int:
        """How many keys are on a Redis where the new layout does not look for them."""
        return sum(
            1
            for server in self.servers
            for key in self._keys(server)
            if self._place(key, self._of) != server.new
            and (server.new is None or self._place(key, self._of) is not None)
        )

    def _keys(self, server: Server) -> Iterator[bytes]:
        """All keys of our prefix but those of the layout itself."""
        own, cursor = {self._layout.encode(), self._users.encode(), self._waiting.encode()}, b"0"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.prefix) + ":*"
        while True:
            cursor, found = server("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            yield from (key for key in found if key not in own)
            if int(cursor) == 0:
                return

    def _place(self, key: bytes, of: int) -> int | None:
        """The number of the Redis where a key belongs, of so many; None for what is of each Redis."""
        found = self._name.fullmatch(key.decode(errors="replace"))
        if found is None:
            return None
        if found["partition"] is None:
            return 0
        if found["tag"] is None:
            return None
        place: int = layer_hash(f"{self.prefix}__group__{found['tag']}", of) if of > 1 else 0
        return place

    def _leaving(self, server: Server) -> Iterator[list[tuple[bytes, int]]]:
        """Keys that have another place in the new layout, with that, in batches."""
        batch: list[tuple[bytes, int]] = []
        for key in self._keys(server):
            place = self._place(key, self._of)
            if place is not None and place != server.new:
                batch.append((key, place))
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _copy(self, server: Server, batch: list[tuple[bytes, int]], epochs: dict[tuple[int, int], bytes]) -> int:
        dumped = server.many([command for key, _ in batch for command in (("DUMP", key), ("PTTL", key))])
        targets, copied = self.new, 0
        for target in targets:
            commands, metas, said = [], list[tuple[bytes, int]](), list[tuple[bytes, str, str]]()
            for number, (key, place) in enumerate(batch):
                body, ttl = dumped[2 * number], int(dumped[2 * number + 1])
                if targets[place] is target and body is not None:
                    commands.append(("RESTORE", key, max(ttl, 0), body, "REPLACE"))
                    found = self._name.fullmatch(key.decode(errors="replace"))
                    if found is not None and found["kind"] == "meta":
                        metas.append((key, int(found["partition"])))
                    elif found is not None and found["kind"].startswith("once:"):
                        said.append((key, found["partition"], found["tag"]))
            if commands:
                target.many(commands)
                copied += len(commands)
            if metas:
                target.many([("HSET", key, "e", self._epoch(target, number, epochs)) for key, number in metas])
            self._keep_answers(server, target, said, epochs)
        return copied

    def _keep_answers(
        self,
        server: Server,
        target: Server,
        said: list[tuple[bytes, str, str]],
        epochs: dict[tuple[int, int], bytes],
    ) -> None:
        """What was published under idempotency keys is where it was, under the stream's new epoch."""
        asked = [
            question
            for key, partition, tag in said
            for question in (("GET", key), ("HGET", f"{self.prefix}:meta:{{p{partition}}}:{tag}", "e"))
        ]
        found = server.many(asked)
        for number, (key, partition, _) in enumerate(said):
            offset, _, epoch = (found[2 * number] or b"").partition(b":")
            if epoch and epoch == found[2 * number + 1]:
                target("SET", key, offset + b":" + self._epoch(target, int(partition), epochs), "KEEPTTL")

    def _epoch(self, target: Server, partition: int, epochs: dict[tuple[int, int], bytes]) -> bytes:
        """The epoch of the streams that come to a partition, which no other stream ever has there."""
        at = (target.new or 0, partition)
        if at not in epochs:
            keys = [partition_placement(partition).partition_key(kind) for kind in ("partition", "made")]
            epochs[at] = target("EVAL", SETTLE.text, len(keys), *keys, target.run, secrets.token_urlsafe(4))
        return epochs[at]

    def _move_partitions(self, server: Server) -> None:
        """What is kept for a partition as a whole: maps by their next end, and events for webhooks."""
        for partition in range(PARTITIONS):
            due = partition_placement(partition).partition_key("map-due")
            found = server("ZRANGE", due, 0, -1, "WITHSCORES")
            for channel, score in _pairs(found):
                placement = placement_of(channel.decode())
                target = self.new[layer_hash(placement.topic, self._of) if self._of > 1 else 0]
                if target is not server:
                    target("ZADD", due, score, channel)
                    if server.new is not None:
                        server("ZREM", due, channel)
        if server.new is None:
            self._move_events(server)

    def _move_events(self, server: Server) -> None:
        """The events that still wait go behind those of the first Redis."""
        pattern = re.compile(rf"{re.escape(self.prefix)}:pe-.*:\{{p\d+\}}")
        for key in list(self._keys(server)):
            if not pattern.fullmatch(name := key.decode(errors="replace")):
                continue
            about = name.replace(":pe-", ":pf-", 1)
            events, ttl = server("LRANGE", key, 0, -1), int(server("PTTL", key))
            size = int(server("HGET", about, "bytes") or 0)
            first = self.new[0]
            if not events:
                continue
            first.many(
                [
                    ("RPUSH", key, *events),
                    ("HINCRBY", about, "number", len(events)),
                    ("HINCRBY", about, "bytes", size),
                    *((("PEXPIRE", one, ttl) for one in (key, about)) if ttl > 0 else ()),
                ]
            )
            server("DEL", key)


def _pairs(found: Sequence[Any]) -> Iterator[tuple[bytes, Any]]:
    if found and isinstance(found[0], tuple):  # as redis-py reads them
        yield from found
    else:
        yield from zip(found[::2], found[1::2], strict=True)


def _batches(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for key in keys:
        batch.append(key)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
