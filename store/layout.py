"""The layout of the cluster: which Redises there are, and in which order. All processes must have the same one.

A name's place follows from it, so two processes with different layouts would not hear each other. Each Redis therefore
has a mark with the ids of all, and a list of the processes that use it, each of them for a few seconds more at a time.
A process calls a Redis while its own time there lasts and no longer; one with another REDIS_URL waits, refused with the
code LAYOUT, until nobody uses the old layout, and begins the new one then. `manage.py reshard` has everybody leave
together (`lua/layout.lua`). Whether a process may come is decided in `layout_marks`.

Threads and event loops share one Layout; each asks over its own connections, and only `enter` makes some.
"""

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.store.cluster import SlotGuide
from flotilla.store.conf import get_store_config
from flotilla.store.deadline import bounded
from flotilla.store.errors import StoreRefused, StoreSilent, StoreUnavailable, from_client
from flotilla.store.layout_marks import CODE, ENDING, Ids, Mark, Unsettled, begun, deserted, joined, wrong
from flotilla.store.placement import partition_placement, partitions_of
from flotilla.store.pools import guide_of, options_of, sync_client
from flotilla.store.scripts import Script
from flotilla.store.slots import key_slot
from flotilla.store.together import together

logger = logging.getLogger("flotilla.store.layout")

LAYOUT = Script.load("flotilla.store", "layout")

LASTS = 6.0  # seconds that a process may use the layout after it has asked
USED_FOR = 4.0  # seconds after which a process does not rely on that any more
EVERY = 1.0  # seconds between two questions
LOOK_WITHIN = 1.5  # seconds for the Redises that are silent when a process comes, or leaves; they count as away
LOOK_AT_LEAST = 0.3  # seconds that each of them has, when others have used up that time
NOBODY_FOR = 3.0  # seconds in which a process with another list must see nobody use the old one, before it begins
OUT_FOR = 10.0  # seconds in which those who were in may agree again, after a Redis has lost its data
ENTERS_WITHIN = 10.0  # seconds that a thread waits for another one that asks
SETTLES_WITHIN = 0.5  # seconds in which processes that come together agree
UNWRITABLE = frozenset({"MISCONF", "NOREPLICAS", "OOM"})
"""Codes of a Redis that takes no writes just now: nobody can begin another layout there either."""


class Layout:
    """This process's part in the layout of `urls`: of a list, or of all virtual shards of a cluster (`virtual`: how
    many there are, 0 in a list)."""

    def __init__(self, urls: Sequence[str], virtual: int = 0) -> None:
        self.urls = tuple(urls)
        self.virtual = virtual
        self.ids: Ids = ()  # of all Redises; none while this process may not use them
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
                raise self._refused.again()
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
            except Unsettled as error:
                if time.monotonic() > gives_up:
                    self._end_if_in(OUT_FOR)
                    raise wrong(str(error)) from error
                time.sleep(0.02)

    def _enter(self) -> Ids:
        if self.virtual:
            self._require_number()
        nobody, self._nobody = self._nobody, None
        found = self._look(self.places)
        ids = joined(found)
        marks = [mark for mark in found if isinstance(mark, Mark)]
        if ids is not None:
            there = [place for place, mark in zip(self.places, found, strict=True) if isinstance(mark, Mark)]
            return self._join(ids, there)
        if deserted(marks):
            self._wait_for_users(nobody)
        return self._begin(marks)

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
            raise _told_by(url, error) from error
        finally:
            client.close()
        if number != self.virtual:
            raise wrong(f"this cluster is used as {number} virtual shards, and REDIS_URL says ?shards={self.virtual}")

    def _join(self, ids: Ids, reachable: Sequence["Place"]) -> Ids:
        self._take(reachable, ids, begin=False)
        return ids

    def _begin(self, marks: Sequence[Mark]) -> Ids:
        """Begin another layout, or the first. Who is too late for the first Redis leaves the others to whoever was
        there; who is too late for one leaves all."""
        ids = begun(marks)
        self._take(self.places[:1], ids, begin=True)
        try:
            self._take(self.places[1:], ids, begin=True)
        except (StoreUnavailable, Unsettled):
            self._look(self.places[:1])
            raise
        if any(mark.ids for mark in marks):
            logger.warning("the cluster has another layout from now on: %d Redises", len(ids))
        return ids

    def _take(self, places: Sequence["Place"], ids: Ids, *, begin: bool) -> None:
        """Use all of these, or none of them."""
        sent = time.monotonic()
        marks = together(partial(self._ask, place, ",".join(ids), begin=begin) for place in places)
        answers = list(zip(places, marks, strict=True))
        try:
            for place, mark in answers:
                self._require_taken(place, mark, ids)
        except (StoreUnavailable, Unsettled):
            self._look([place for place, mark in answers if isinstance(mark, Mark)])
            raise
        for place in places:
            place.held(sent)

    def _require_taken(self, place: "Place", mark: Mark | StoreUnavailable, ids: Ids) -> None:
        if isinstance(mark, StoreUnavailable):
            raise mark
        if not mark.may and mark.ids == ids and mark.number != str(place.index):
            raise wrong(f"REDIS_URL names one Redis twice, as number {mark.number} and {place.index}: write each once")
        if not mark.may:
            raise Unsettled(f"another process was first at Redis {place.index}")

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
            return _told_by(place.url, error)

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


def _told_by(url: str, error: Exception) -> StoreUnavailable:
    """The error of one Redis, which calls of all others fail with: a refusal says which node of a cluster it is of."""
    told, guide = from_client(error), guide_of(url)
    node = guide.name() if isinstance(guide, SlotGuide) else ""
    return StoreRefused(told.code, f"{told.text} (at {node})") if node and isinstance(told, StoreRefused) else told


KINDS = ("layout", "layout-users", "layout-waiting")
