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
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from channels_redis.utils import _consistent_hash as layer_hash
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.presence.outbox import part_keys
from flotilla.realtime.engine import map_calls
from flotilla.store import Script, StoreUnavailable, placement_of
from flotilla.store.conf import get_store_config
from flotilla.store.errors import from_client
from flotilla.store.layout import KINDS, LASTS
from flotilla.store.layout_marks import ENDING, HELD, OPEN
from flotilla.store.partitions import Partitions
from flotilla.store.placement import PARTITIONS, Placement, partition_placement
from flotilla.store.pools import options_of, sync_client

SETTLE = Script.load("flotilla.realtime.api", "settle")
ANSWERS_WITHIN = 10.0  # seconds of one call
BATCH = 500  # keys in one round trip
LOOK_EVERY = 0.05  # seconds
ALONE_FOR = 5.0  # seconds after its end without a word that one who is at work keeps others out
Item = TypeVar("Item")


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
    """One Redis of either list. Its replies are as Redis wrote them."""

    def __init__(self, url: str) -> None:
        self.old: int | None = None
        self.new: int | None = None
        self._client = sync_client(url, **options_of(ANSWERS_WITHIN, Retry(NoBackoff(), 0)))
        self._client.response_callbacks.clear()

    def __call__(self, *command: Any) -> Any:
        """One command's reply."""
        return self.many([command])[0]

    def many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Commands in one round trip; the first error among the replies is raised."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return pipe.execute()
        except (RedisError, OSError) as error:
            raise from_client(error) from error

    def unlink(self, keys: Iterable[bytes]) -> int:
        """Delete keys: how many they were."""
        return sum(len(self.many(("UNLINK", key) for key in batch)) for batch in _batches(keys))

    @property
    def identity(self) -> tuple[str, int]:
        """The same for each address of one Redis: its run, and the number of the database."""
        return self.run, int(self._client.connection_pool.connection_kwargs.get("db", 0) or 0)

    @property
    def run(self) -> str:
        """Its run, by its run_id."""
        return Partitions().run_of(self("INFO", "server"))

    def close(self) -> None:
        self._client.close()


class _Due(NamedTuple):
    """A map that has an entry with an end, in the list of its partition: `place` is where its channel belongs."""

    key: str
    channel: bytes
    end: bytes
    place: int


class Resharding:
    """From the Redises `old` to the Redises `new`; `tell` gets a line about each step."""

    def __init__(self, old: Sequence[str], new: Sequence[str], tell: Callable[[str], object] = print) -> None:
        self.prefix = get_store_config().prefix
        self._tell = tell
        self.servers: list[Server] = []
        self.old, self.new = list[Server](), list[Server]()
        """In the order of the lists."""
        try:
            for number, url in enumerate(old):
                self.old.append(server := self._known(url, self.old))
                server.old = number
            for number, url in enumerate(new):
                self.new.append(server := self._known(url, self.new))
                server.new = number
        except Exception:
            self.close()
            raise
        self._layout, self._users, self._waiting = (partition_placement(0).partition_key(kind) for kind in KINDS)
        self._work = partition_placement(0).partition_key("layout-work")
        self._name = re.compile(
            rf"{re.escape(self.prefix)}:(?P<kind>.*?):\{{(?:p(?P<partition>\d+)\}}(?::(?P<tag>[0-9a-f]{{20}}(?:\.\w{{4}})?))?|\w+\}})",
            re.DOTALL,
        )

    def _known(self, url: str, so_far: Sequence[Server]) -> Server:
        """The Redis of an address: one for all addresses that lead to it."""
        found = Server(url)
        self.servers.append(found)
        for server in self.servers[:-1]:
            if server.identity == found.identity:
                self.servers.pop().close()
                found = server
                break
        if found in so_far:
            raise Refused("two addresses of one list are the same Redis: write each once")
        return found

    def close(self) -> None:
        """Close all connections."""
        for server in self.servers:
            server.close()

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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For steps: nobody else does any meanwhile. Raises Refused where somebody does, and goes on doing so."""
        first, name, ended = self.old[0], secrets.token_hex(8).encode(), threading.Event()
        gives_up = time.monotonic() + ALONE_FOR + 1.0
        while not first("SET", self._work, name, "NX", "PX", int(ALONE_FOR * 1000)):
            if time.monotonic() >= gives_up:
                raise Refused("another `manage.py reshard` is at work: wait for its end, or end it")
            time.sleep(LOOK_EVERY)
        keeper = threading.Thread(target=self._stay_alone, args=(first, name, ended), daemon=True)
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()
            with suppress(StoreUnavailable):  # it ends by itself
                if first("GET", self._work) == name:
                    first("DEL", self._work)

    def _stay_alone(self, first: Server, name: bytes, ended: threading.Event) -> None:
        while not ended.wait(ALONE_FOR / 5):
            with suppress(StoreUnavailable):  # which the step at work meets as well
                if first("GET", self._work) == name:
                    first("PEXPIRE", self._work, int(ALONE_FOR * 1000))

    def prepare(self) -> None:
        """Hold the Redises that are new, so that no process begins the new layout too early."""
        if self._has_begun():
            raise Refused("the new layout has begun already: nothing is left to do")
        copied = self._is_copied()
        if copied and all(seen.state in ("", OPEN) for seen in self.look() if seen.places[1] is not None):
            raise Refused("everything is in its new place: start processes with the new REDIS_URL, which begin with it")
        for server, seen in zip(self.servers, self.look(), strict=True):
            which = f"Redis {server.new} of the new list"
            if server.old is None and not seen.state and not copied:
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

    def _has_begun(self) -> bool:
        marks = [server("HMGET", self._layout, "ids", "index", "state") for server in self.new]
        ids = {tuple((found or b"").split(b",")) for found, _, _ in marks}
        return len(ids) == 1 and all(
            index == str(number).encode() and not state and len(found.split(b",")) == len(self.new)
            for number, (found, index, state) in enumerate(marks)
        )

    def end(self, within: float) -> None:
        """Have every process leave the old layout: in order for `within` seconds, and then at once."""
        for server, seen in zip(self.servers, self.look(), strict=True):
            if server.old is not None and seen.of and seen.of != len(self.old):
                raise Refused(
                    f"Redis {server.old} belongs to a layout of {seen.of} Redises, and --from names {len(self.old)}"
                )
        self._require_no_third_list()
        if not self._left(0):
            for server in self.old:
                server("HSETNX", self._layout, "state", ENDING)
            self._tell("the old layout ends: instances send their clients away")
            self._left(within)
        for server in self.old:
            server("HSET", self._layout, "state", HELD)
        if not self._left(LASTS + 1.0):
            raise Refused("there are still processes that use the old layout: try again, or --abort")

    def _require_no_third_list(self) -> None:
        """Who waits with a list that is neither could be the first where the next layout may begin."""
        lists = {int(name.partition("/")[2]) for seen in self.look() for name in seen.waiting}
        for of in sorted(lists - {len(self.old), len(self.new)}):
            raise Refused(
                f"processes wait with yet another list, of {of} Redises, and could begin with it: end them, or give "
                "them the new REDIS_URL, and try again after a moment"
            )

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
        if not self._is_copied():
            self._copy_all()
        return sum(self._clear(server) for server in self.old)

    def _copy_all(self) -> None:
        epochs: dict[tuple[int, int], bytes] = {}
        for server in self.old:
            for batch in _batches(self._leaving(server)):
                self._copy(server, batch, epochs)
            for due in self._due(server, len(self.new), server.new):
                self.new[due.place]("ZADD", due.key, due.end, due.channel)
        name = secrets.token_hex(8)
        for number, server in enumerate(self.new):
            server("HSET", self._layout, "copied", f"{name}/{number}")
        for server in self.old:
            server("HSET", self._layout, "moved", name)

    def _is_copied(self) -> bool:
        """Whether this was cut short when all was copied: what is left must not be copied again, because its streams
        would get yet another epoch."""
        names = {server("HGET", self._layout, "moved") for server in self.old}
        copied = [server("HGET", self._layout, "copied") for server in self.new]
        name = names.pop()
        return bool(name and not names and copied == [b"%b/%d" % (name, number) for number in range(len(copied))])

    def _clear(self, server: Server) -> int:
        """Delete what has another place now: how many keys."""
        number = server.unlink(key for key, _ in self._leaving(server))
        if server.new is None:
            self._move_events(server)
            server.unlink(self._keys(server))
        else:
            self._forget(server, self._due(server, len(self.new), server.new))
        return number

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
        of = len(self.old)
        for server in self.old:
            server.unlink(key for key in self._keys(server) if self._place(key, of) not in (None, server.old))
            self._forget(server, self._due(server, of, server.old))
        for server in self.servers:
            if server.old is None:
                server.unlink(self._keys(server))
                server("DEL", self._layout)
        for server in self.old:
            server("HDEL", self._layout, "state", "copied")

    # Moving

    def stray(self) -> int:
        """How many keys are on a Redis where the new layout does not look for them."""
        return sum(
            self._is_stray(self._place(key, len(self.new)), server)
            for server in self.servers
            for key in self._keys(server)
        )

    @staticmethod
    def _is_stray(place: int | None, server: Server) -> bool:
        return server.new is None if place is None else place != server.new

    def _keys(self, server: Server, kinds: str = "") -> Iterator[bytes]:
        """All keys of our prefix whose kinds begin so, but those of the layout itself."""
        own = {key.encode() for key in (self._layout, self._users, self._waiting, self._work)}
        cursor = b"0"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.prefix) + f":{kinds}*"
        while True:
            cursor, found = server("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            yield from (key for key in found if key not in own)
            if int(cursor) == 0:
                return

    def _named(self, key: bytes) -> re.Match[str] | None:
        return self._name.fullmatch(key.decode(errors="replace"))

    def _place(self, key: bytes, of: int) -> int | None:
        """The number of the Redis where a key belongs, of so many; None for what is of each Redis."""
        found = self._named(key)
        if found is None:
            return None
        if found["partition"] is None:
            return 0
        if found["tag"] is None:
            return None
        return _place_of(f"{self.prefix}__group__{found['tag']}", of)

    def _is_answer(self, key: bytes) -> bool:
        """Whether it is what was published under an idempotency key."""
        return key.startswith(f"{self.prefix}:once:".encode())

    def _leaving(self, server: Server) -> Iterator[tuple[bytes, int]]:
        """Keys that have another place in the new layout, with that."""
        for key in self._keys(server):
            place = self._place(key, len(self.new))
            if place is not None and place != server.new:
                yield key, place

    def _copy(self, server: Server, batch: list[tuple[bytes, int]], epochs: dict[tuple[int, int], bytes]) -> None:
        dumped = server.many(command for key, _ in batch for command in (("DUMP", key), ("PTTL", key)))
        found = [
            (key, place, body, ttl) for (key, place), body, ttl in zip(batch, dumped[::2], dumped[1::2], strict=True)
        ]
        for number, target in enumerate(self.new):
            here = [(key, body, ttl) for key, place, body, ttl in found if place == number and body is not None]
            target.many(("RESTORE", key, max(ttl, 0), body, "REPLACE") for key, body, ttl in here)
            self._begin_epochs(server, target, [key for key, _, _ in here], epochs)

    def _begin_epochs(
        self, server: Server, target: Server, keys: Sequence[bytes], epochs: dict[tuple[int, int], bytes]
    ) -> None:
        """Streams go on under another epoch, and what was published under idempotency keys is where it was in them."""
        named = [(key, found) for key in keys if (found := self._named(key)) is not None]
        target.many(
            ("HSET", key, "e", self._epoch(target, int(found["partition"]), epochs))
            for key, found in named
            if found["kind"] == "meta"
        )
        said = [
            (key, Placement(found["tag"], self.prefix, int(found["partition"])))
            for key, found in named
            if self._is_answer(key)
        ]
        asked = server.many(
            question for key, stream in said for question in (("GET", key), ("HGET", stream.key("meta"), "e"))
        )
        for (key, stream), answer, of_stream in zip(said, asked[::2], asked[1::2], strict=True):
            offset, _, epoch = (answer or b"").partition(b":")
            if epoch and epoch == of_stream:
                now = self._epoch(target, stream.partition or 0, epochs)
                target("SET", key, offset + b":" + now, "KEEPTTL")

    def _epoch(self, target: Server, partition: int, epochs: dict[tuple[int, int], bytes]) -> bytes:
        """The epoch of the streams that come to a partition, which no other stream ever has there."""
        at = (target.new or 0, partition)
        if at not in epochs:
            keys = [partition_placement(partition).partition_key(kind) for kind in ("partition", "made")]
            epochs[at] = target("EVAL", SETTLE.text, len(keys), *keys, target.run, secrets.token_urlsafe(4))
        return epochs[at]

    def _due(self, server: Server, of: int, here: int | None) -> Iterator[_Due]:
        """What is noted at a Redis, the one with the number `here` of so many, of maps that belong to another."""
        for partition in range(PARTITIONS):
            key = map_calls.due_key(partition_placement(partition))
            found = server("ZRANGE", key, 0, -1, "WITHSCORES")
            for channel, end in zip(found[::2], found[1::2], strict=True):
                place = _place_of(placement_of(channel.decode()).topic, of)
                if place != here:
                    yield _Due(key, channel, end, place)

    def _forget(self, server: Server, noted: Iterable[_Due]) -> None:
        for due in noted:
            server("ZREM", due.key, due.channel)

    def _move_events(self, server: Server) -> None:
        """The events for webhooks that still wait go behind those of the first Redis."""
        name = re.compile(rf"{re.escape(self.prefix)}:pe-(.*):\{{p(\d+)\}}", re.DOTALL)
        for key in self._keys(server, "pe-"):
            found = name.fullmatch(key.decode(errors="replace"))
            events = server("LRANGE", key, 0, -1) if found is not None else []
            if found is None or not events:
                continue
            _, about = part_keys(found[1], partition_placement(int(found[2])))
            ttl, size = server("PTTL", key), int(server("HGET", about, "bytes") or 0)
            self.new[0].many(
                [
                    ("RPUSH", key, *events),
                    ("HINCRBY", about, "number", len(events)),
                    ("HINCRBY", about, "bytes", size),
                    *((("PEXPIRE", one, ttl) for one in (key, about)) if ttl > 0 else ()),
                ]
            )
            server("DEL", key)


def _place_of(topic: str, of: int) -> int:
    """The number of the Redis, of so many, to which the channel layer leads a topic."""
    found: int = layer_hash(topic, of) if of > 1 else 0
    return found


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch
