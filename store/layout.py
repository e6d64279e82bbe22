"""The layout of the cluster: which Redises there are, and in which order. All processes must have the same one.

A name's place follows from it, so two processes with different layouts would not hear each other. Each Redis therefore
has a mark with the ids of all, and a list of the processes that use it, each of them for a few seconds more at a time.
A process calls a Redis while its own time there lasts and no longer; one with another REDIS_URL waits, refused with the
code LAYOUT, until nobody uses the old layout, and begins the new one then. `manage.py reshard` has everybody leave
together (`lua/layout.lua`).

Threads and event loops share one Layout; each asks over its own connections, and only `enter` makes some.
"""

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.store.conf import get_store_config
from flotilla.store.deadline import bounded
from flotilla.store.errors import StoreRefused, StoreSilent, StoreUnavailable, from_client, reading
from flotilla.store.placement import partition_placement, partitions_of
from flotilla.store.pools import options_of, sync_client
from flotilla.store.scripts import Script
from flotilla.store.slots import key_slot
from flotilla.store.together import together

logger = logging.getLogger("flotilla.store.layout")

LAYOUT = Script.load("flotilla.store", "layout")
CODE = "LAYOUT"

LASTS = 6.0  # seconds that a process may use the layout after it has asked
USED_FOR = 4.0  # seconds after which a process does not rely on that any more
EVERY = 1.0  # seconds between two questions
LOOK_WITHIN = 1.5  # seconds for the Redises that are silent when a process comes, or leaves; they count as away
LOOK_AT_LEAST = 0.3  # seconds that each of them has, when others have used up that time
NOBODY_FOR = 3.0  # seconds in which a process with another list must see nobody use the old one, before it begins
OUT_FOR = 10.0  # seconds in which those who were in may agree again, after a Redis has lost its data
ENTERS_WITHIN = 10.0  # seconds that a thread waits for another one that asks
SETTLES_WITHIN = 0.5  # seconds in which processes that come together agree
MEND = "docs/SCALE_OUT.md#more-or-fewer-redises"
ENDING, HELD, OPEN = "ending", "held", "open"
UNWRITABLE = frozenset({"MISCONF", "NOREPLICAS", "OOM"})
"""Codes of a Redis that takes no writes just now: nobody can begin another layout there either."""


class Mark(NamedTuple):
    """What a Redis says: whether this process may use it, the ids of all of the layout, which of them it is ("" where
    it has no mark), how many other processes use it, and the state that `reshard` has brought it to ("": none)."""

    may: bool
    ids: tuple[str, ...]
    number: str
    others: int
    state: str

    @classmethod
    def read(cls, answer: Sequence[Any]) -> "Mark":
        """The script's answer."""
        with reading("a question about the layout"):
            may, ids, index, others, state = answer
            return cls(bool(may), _split(ids), index.decode(), int(others), state.decode())

    def stands(self, index: int, of: int) -> bool:
        """Whether it is the mark of a layout in which this Redis has that place, among so many."""
        return self.number == str(index) and len(self.ids) == of


class Layout:
    """This process's part in the layout of `urls`: of a list, or of all virtual shards of a cluster (`virtual`: how
    many there are, 0 in a list)."""

    def __init__(self, urls: Sequence[str], virtual: int = 0) -> None:
        self.urls = tuple(urls)
        self.virtual = virtual
        self.ids: tuple[str, ...] = ()  # of all Redises; none while this process may not use them
        self.me = secrets.token_hex(8)
        self.places = [Place(self, index) for index in range(len(urls))]
        self.on_end: Callable[[], object] | None = None
        """Called once, by any thread, when the layout ends: the process is to end in order. Without it the process
        stops to use the Redises at once."""
        self._told_end = False
        self._out_since: float | None = None  # of a process that was in: when it was refused first
        self._out_at = 0.0  # when it stopped to use the Redises last: what they were asked before does not count
        self._entering = threading.Lock()
        self._attempts = 0  # to enter, that have ended
        self._refused: StoreUnavailable | None = None  # how the last one ended
        self._nobody: tuple[float, float] | None = None  # since when, and until when, nobody was seen in another layout
        self._look_until = 0.0

    def enter(self) -> None:
        """Have this process use the layout, if it may. Raises StoreRefused with the code LAYOUT where it may not, and
        StoreUnavailable where the Redises do not say."""
        attempts = self._attempts
        if not self._entering.acquire(timeout=bounded(ENTERS_WITHIN)):
            raise StoreSilent("another thread asks the Redises for their layout, and has no answer yet")
        try:
            if self.ids:
                return
            if self._attempts != attempts and self._refused is not None:  # another thread asked meanwhile
                raise _again(self._refused)
            self._attempt()
        finally:
            self._entering.release()

    def _attempt(self) -> None:
        self._refused = None
        try:
            self._enter_settled()
        except StoreUnavailable as error:
            self._refused = error
            raise
        finally:
            self._attempts += 1
            self._hang_up()

    def _enter_settled(self) -> None:
        gives_up = time.monotonic() + SETTLES_WITHIN
        while not self.ids:
            try:
                self.ids = self._enter()
                self._out_since = None
            except StoreRefused as error:
                if error.code == CODE:  # one that loads, or may not write, says nothing of the layout
                    self._end_if_in()
                raise
            except _Unsettled as error:
                if time.monotonic() > gives_up:
                    self._end_if_in(OUT_FOR)
                    raise wrong(str(error)) from error
                time.sleep(0.02)

    def _enter(self) -> tuple[str, ...]:
        if self.virtual:
            self._require_number()
        nobody, self._nobody = self._nobody, None
        found, of = self._look(self.places), len(self.urls)
        marks = {index: mark for index, mark in enumerate(found) if isinstance(mark, Mark)}
        for index, mark in marks.items():
            self._refuse_resharded(index, mark)
        ids = {mark.ids for mark in marks.values()}
        if len(ids) == 1 and all(mark.stands(index, of) for index, mark in marks.items()):
            return self._join(ids.pop(), list(marks))
        for one in found:
            if isinstance(one, StoreUnavailable):
                raise one
        for index, mark in marks.items():
            if mark.others:
                self._refuse_used(index, mark)
        if not any(mark.state == OPEN for mark in marks.values()):
            self._require_place_of_first(marks)
            if any(mark.ids and not mark.stands(index, of) for index, mark in marks.items()):
                self._wait_for_users(nobody)
        return self._begin(list(marks.values()))

    def _refuse_resharded(self, index: int, mark: Mark) -> None:
        if mark.state in (ENDING, HELD):
            raise wrong(
                f"`manage.py reshard` is at work on Redis {index} or has taken it out: REDIS_URL may be the old one"
            )
        if mark.state == OPEN and mark.stands(index, len(self.urls)):
            raise wrong("`manage.py reshard` has ended this layout: REDIS_URL is the old one")

    def _require_place_of_first(self, marks: dict[int, Mark]) -> None:
        """What belongs to the whole cluster stays where it is, unless it was taken along."""
        if any(mark.ids for mark in marks.values()) and marks[0].number != "0":
            raise wrong(
                "the first Redis of REDIS_URL is not the one that was first, which has what belongs to the whole "
                "cluster: `manage.py reshard` takes that along"
            )

    def _wait_for_users(self, nobody: tuple[float, float] | None) -> None:
        """After an outage nobody is counted until they have asked again: who waits with another list must not be
        quicker, because all of them would have to end. `nobody`: as it was at the last look."""
        now = time.monotonic()
        since, until = nobody or (now, now)
        if now > until + NOBODY_FOR:  # it has not looked meanwhile
            since = now
        self._nobody = since, now
        if now < since + NOBODY_FOR:
            raise wrong(
                f"nobody uses the old list of Redises any more: if that stays so for {NOBODY_FOR:g} s, the next "
                "attempt begins with the new one"
            )

    def _require_number(self) -> None:
        """A cluster is used as the same number of virtual shards for ever: their marks would not meet otherwise."""
        key = f"{get_store_config().prefix}:virtual-shards:{{layout}}"  # where it is must not follow from the number
        url = re.sub(r"slot=\d+", f"slot={key_slot(key)}", self.urls[0])
        client = sync_client(url, **options_of(LOOK_WITHIN, Retry(NoBackoff(), 0)))
        try:
            client.set(key, self.virtual, nx=True)
            number = int(client.get(key) or 0)
        except (RedisError, OSError, StoreUnavailable) as error:
            raise from_client(error) from error
        finally:
            client.close()
        if number != self.virtual:
            raise wrong(f"this cluster is used as {number} virtual shards, and REDIS_URL says ?shards={self.virtual}")

    def _refuse_used(self, index: int, mark: Mark) -> None:
        of = len(self.urls)
        if mark.stands(index, of):
            raise _Unsettled(
                f"another Redis of REDIS_URL is not the one that {mark.others} processes use with Redis {index}, or "
                "it has lost its data and they have not said so yet"
            )
        raise wrong(
            f"{mark.others} processes use Redis {index} of these {of} as number {mark.number} of {len(mark.ids)}: "
            "REDIS_URL must be the same everywhere; this one waits until they have ended"
        )

    def _join(self, ids: tuple[str, ...], reachable: Sequence[int]) -> tuple[str, ...]:
        self._take([self.places[index] for index in reachable], ids, begin=False)
        return ids

    def _begin(self, marks: Sequence[Mark]) -> tuple[str, ...]:
        """Begin another layout, or the first. A Redis keeps its id. Who is too late for the first leaves the others to
        whoever was there; who is too late for one leaves all."""
        own = [mark.ids[int(mark.number)] if mark.ids else secrets.token_hex(6) for mark in marks]
        ids = tuple(name if name not in own[:at] else secrets.token_hex(6) for at, name in enumerate(own))
        before = {mark.ids for mark in marks if mark.ids}
        self._take(self.places[:1], ids, begin=True)
        try:
            self._take(self.places[1:], ids, begin=True)
        except (StoreUnavailable, _Unsettled):
            self._look(self.places[:1])
            raise
        if before:
            logger.warning("the cluster has another layout from now on: %d Redises", len(ids))
        return ids

    def _take(self, places: Sequence["Place"], ids: tuple[str, ...], *, begin: bool) -> None:
        """Use all of these, or none of them."""
        sent = time.monotonic()
        marks = together(partial(self._ask, place, ",".join(ids), begin=begin) for place in places)
        answers = list(zip(places, marks, strict=True))
        try:
            for place, mark in answers:
                self._require_taken(place, mark, ids)
        except (StoreUnavailable, _Unsettled):
            self._look([place for place, mark in answers if isinstance(mark, Mark)])
            raise
        for place in places:
            place.held(sent)

    def _require_taken(self, place: "Place", mark: Mark | StoreUnavailable, ids: tuple[str, ...]) -> None:
        if isinstance(mark, StoreUnavailable):
            raise mark
        if not mark.may and mark.ids == ids and mark.number != str(place.index):
            raise wrong(f"REDIS_URL names one Redis twice, as number {mark.number} and {place.index}: write each once")
        if not mark.may:
            raise _Unsettled(f"another process was first at Redis {place.index}")

    def _look(self, places: Sequence["Place"]) -> list[Mark | StoreUnavailable]:
        """The marks of some Redises, which are all asked at once, or why there is none; who was in is out there."""
        self._out_at = time.monotonic()
        for place in places:
            place.left()
        self._look_until = self._out_at + LOOK_WITHIN
        return together(partial(self._ask, place, "") for place in places)

    def _ask(self, place: "Place", ids: str, *, begin: bool = False) -> Mark | StoreUnavailable:
        """One Redis's mark, over a connection beside those of calls."""
        if place.client is None:
            seconds = max(LOOK_AT_LEAST, self._look_until - time.monotonic())
            place.client = sync_client(place.url, **options_of(seconds, Retry(NoBackoff(), 0)))
        try:
            keys, arguments = place.question(ids, begin=begin)
            return Mark.read(place.client.eval(LAYOUT.text, len(keys), *keys, *arguments))
        except (RedisError, OSError, StoreUnavailable) as error:
            return from_client(error)

    def _hang_up(self) -> None:
        for place in self.places:
            if place.client is not None:
                place.client.close()
                place.client = None

    def answered(self, place: "Place", sent: float, mark: Mark) -> StoreUnavailable | None:
        """What a Redis said to a question that was sent then; the error, where this process may not go on.

        A Redis that has another mark may have lost its data, and got a new one: the process comes again (`enter`).
        """
        if sent < self._out_at:  # the process has left since, and may have come again
            return None if self.ids else place.unused()
        if mark.may:
            place.held(sent)
            if mark.state != ENDING or self._tell_end():
                return None
        self._go_out()
        if mark.state:
            self._end_if_in()
            return wrong("`manage.py reshard` has ended this layout: this process needs the new REDIS_URL")
        return StoreUnavailable(f"Redis {place.index} does not know this process's layout")

    def _go_out(self) -> None:
        self._out_at = time.monotonic()
        if self.ids and self._out_since is None:
            self._out_since = self._out_at
        self.ids = ()
        for place in self.places:
            place.left()

    def _end_if_in(self, after: float = 0.0) -> None:
        """Have the process end, if it was in and has been out for so many seconds."""
        if self._out_since is not None and time.monotonic() >= self._out_since + after:
            self._tell_end()

    def _tell_end(self) -> bool:
        """Tell once; whether there is somebody who ends the process."""
        if not self._told_end and self.on_end is not None:
            self._told_end = True
            logger.warning("the layout of %d Redises is over, and so this process ends", len(self.urls))
            self.on_end()
        return self.on_end is not None

    def leave(self) -> None:
        """This process uses the Redises no more: who waits for that need not wait until its time is over."""
        with self._entering:
            entered = bool(self.ids)
            self._go_out()
            self._out_since = None
            if entered:
                self._look(self.places)
            self._hang_up()


class Place:
    """One Redis of the layout, as this process may use it: until `until`, and it asks again at `renew_at`; both are of
    time.monotonic()."""

    def __init__(self, layout: Layout, index: int) -> None:
        self.layout = layout
        self.index = index
        self.url = layout.urls[index]
        self.until = 0.0
        self.renew_at = 0.0
        self.client: redis.Redis | None = None  # while it enters, or leaves

    def question(self, ids: str, *, comes: bool = True, begin: bool = False) -> tuple[list[str], list[str | int]]:
        """Keys and arguments of the script. `ids`: of all Redises, "" only to look. `comes`: this process is not in.
        `begin`: another layout, too."""
        layout, virtual = self.layout, self.layout.virtual
        kinds = KINDS if comes else KINDS[:2]
        keys = [partition_placement(0, self.index, virtual).partition_key(kind) for kind in kinds]
        if begin:
            every = (partition_placement(number, self.index, virtual) for number in range(partitions_of(virtual)))
            keys += [partition.partition_key("partition") for partition in every]
        return keys, [layout.me, int(LASTS * 1000), ids, str(self.index), f"{self.index + 1}/{len(layout.urls)}"]

    def command(self) -> tuple[Any, ...]:
        """The question of who is in already. Raises StoreUnavailable in a process that is not: to look would take out
        another thread of it that comes just then."""
        if not (ids := self.layout.ids):
            raise self.unused()
        keys, arguments = self.question(",".join(ids), comes=False)
        return ("EVALSHA", LAYOUT.sha, len(keys), *keys, *arguments)

    def held(self, sent: float) -> None:
        """A question that was sent then was answered well."""
        self.until, self.renew_at = sent + USED_FOR, sent + EVERY

    def left(self) -> None:
        """Nothing was answered well yet, or what was counts no more."""
        self.until = self.renew_at = 0.0

    def unused(self) -> StoreUnavailable:
        """The error for calls while this process is out."""
        return StoreUnavailable(f"this process does not use Redis {self.index} just now")

    def read(self, sent: float, answer: Sequence[Any]) -> None:
        """Take the answer. Raises StoreUnavailable where this process may not use this Redis any more."""
        if (refused := self.layout.answered(self, sent, Mark.read(answer))) is not None:
            raise refused

    def failed(self, sent: float, error: StoreUnavailable) -> None:
        """A question that was sent then got an error. Raises it where this process may not use this Redis any more."""
        if not self.keeps_without(sent, error) and time.monotonic() >= self.until:
            raise error

    def keeps_without(self, sent: float, error: Exception) -> bool:
        """Whether an error says that this Redis takes no writes: who is in goes on with what needs none."""
        told = from_client(error)
        if not (isinstance(told, StoreRefused) and told.code in UNWRITABLE and self.layout.ids):
            return False
        self.held(sent)
        return True


KINDS = ("layout", "layout-users", "layout-waiting")


class _Unsettled(Exception):
    """Processes that come at the same time have not agreed yet."""


def _again(error: StoreUnavailable) -> StoreUnavailable:
    """The same error for another caller."""
    return error.again() if isinstance(error, StoreRefused) else type(error)(str(error))


def wrong(why: str) -> StoreRefused:
    """The error for a process whose REDIS_URL is not that of the cluster."""
    return StoreRefused(CODE, f"{CODE} {why} ({MEND})")


def _split(ids: bytes) -> tuple[str, ...]:
    return tuple(ids.decode().split(",")) if ids else ()
