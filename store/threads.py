"""One Redis as threads call it, over connections that all threads of the process share (`kept`).

Calls keep the deadline of their thread (`deadline`), and where that is wanted they fail at once while Redis is known to
be silent (`outage`): the rate limits have a breaker of their own instead, which tells slow from silent. A new
connection begins as those of coroutines do, by comparing what is known of the partitions (`link`). Behind
sentinels, `moved` has the next call begin with the new master, and `leaving` has calls wait for it. In a cluster, calls
of which nothing was executed because their slot has moved, or is moving, are made again for a while.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from flotilla.store.cluster import SlotGuide
from flotilla.store.deadline import Timed, bounded
from flotilla.store.errors import (
    ELSEWHERE,
    MOVED,
    UNKNOWN_SCRIPT,
    StoreNotAsked,
    StoreRefused,
    StoreUnavailable,
    from_client,
    not_here,
)
from flotilla.store.greeting import QUESTIONS, run_of_master
from flotilla.store.held import ASKED_EVERY, HELD_WITHIN
from flotilla.store.kept import Kept
from flotilla.store.layout import LAYOUT, Place
from flotilla.store.outage import Outage
from flotilla.store.partitions import DOUBT, Partitions
from flotilla.store.pools import connections, guide_of, options_of
from flotilla.store.promotions import HELD_BACK_WITHIN
from flotilla.store.resp import Argument, in_full, pack
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats
from flotilla.store.urls import in_cluster


class Threads:
    """Calls of threads. Every one raises StoreUnavailable: StoreRefused where Redis answers with an error."""

    def __init__(
        self,
        name: str,
        url: str,
        timeout: float,
        stats: RedisStats,
        partitions: Partitions | None,
        *,
        wait_once: bool,
        place: Place | None = None,
    ) -> None:
        self._name = name
        self._url = url
        self._timeout = timeout
        self._stats = stats
        self._partitions = partitions
        self._wait_once = wait_once
        self._place = place
        self._in_cluster = in_cluster(url)
        self._kept: Kept | None = None
        self._settled = threading.Event()  # cleared while calls are held back for a master that is next
        self._settled.set()
        self._settled_by = 0.0
        self.outage = self._no_outage()

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run `script`; while its partition is in doubt it is asked again, until it is not."""
        return self.run_packed(pack(("EVALSHA", script.sha, len(keys), *keys, *args)), script)

    def run_packed(self, packed: bytes, script: Script) -> Any:
        """As `run`, for an EVALSHA of `script` that is packed already."""
        gives_up = time.monotonic() + bounded(HELD_WITHIN)
        while True:
            reply = self._run_once(packed, script)
            if not isinstance(reply, StoreRefused):
                return reply
            if reply.code != DOUBT or self._partitions is None or time.monotonic() > gives_up:
                raise self._failed(reply)
            time.sleep(ASKED_EVERY)
            self._compare(self._partitions)

    def run_many(self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]]) -> list[Any]:
        """Run scripts in one round trip, in order: their replies, an error reply for each that failed among them.

        Where a partition was in doubt, it is compared before this returns: the same call may pass then. A slot that has
        moved is followed, but one that is on its way, or nobody's, is not waited for: its error is the reply.
        """
        packed = [pack(("EVALSHA", script.sha, len(keys), *keys, *args)) for script, keys, args in calls]
        replies = self._ask(packed, waits=False)
        if _codes(replies) == {UNKNOWN_SCRIPT}:
            self.batch([("SCRIPT", "LOAD", text) for text in dict.fromkeys(script.text for script, _, _ in calls)])
            replies = self._ask(packed, waits=False)
        for reply in replies:
            if isinstance(reply, StoreRefused):
                self._failed(reply)
        if DOUBT in _codes(replies) and self._partitions is not None:
            self._compare(self._partitions)
        return replies

    def compare(self) -> None:
        """Compare what is known of the partitions with this run of Redis, and make partitions that are gone."""
        if self._partitions is not None:
            self._compare(self._partitions)

    def execute(self, *command: Argument) -> Any:
        """Run one command and return its raw reply."""
        return self.batch([command])[0]

    def batch(self, commands: Sequence[Sequence[Argument]], *, waits: bool = True) -> list[Any]:
        """Several commands in one round trip; an error among the replies is raised. `waits`: for a slot that is on its
        way, or nobody's."""
        if not commands:
            return []
        replies = self._ask([pack(tuple(command)) for command in commands], waits=waits)
        for reply in replies:
            if isinstance(reply, StoreRefused):
                raise self._failed(reply)
        return replies

    def leaving(self) -> None:
        """The master is about to be replaced: calls wait for the next one."""
        self._settled_by = time.monotonic() + HELD_BACK_WITHIN
        self._settled.clear()

    def moved(self) -> None:
        """Another server is the master: calls begin with new connections. One that is under way finishes."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
        self._settled.set()

    def close(self) -> None:
        """Close all connections; another call makes new ones."""
        self.outage.end()
        self.outage = self._no_outage()
        kept, self._kept = self._kept, None
        if kept is not None:
            if (behind := guide_of(self._url)) is not None:
                behind.leave(self)
            kept.close()

    # Asking

    def _run_once(self, packed: bytes, script: Script) -> Any:
        """The script's reply, which may be an error."""
        [reply] = self._ask([packed])
        if isinstance(reply, StoreRefused) and reply.code == UNKNOWN_SCRIPT:
            [reply] = self._ask([in_full(packed, script.sha, script.text.encode())])
        return reply

    def _ask(self, packed: Sequence[bytes], *, waits: bool = True) -> list[Any]:
        """One round trip of some commands, error replies among the replies. Raises StoreNotAsked in an outage."""
        try:
            self.outage.require_none()
            self._stats.commands += len(packed)
            if self._place is not None and time.monotonic() >= self._place.renew_at:
                self._ask_for_place(self._place)
            return self._asked(packed, waits=waits)
        except StoreUnavailable as error:
            raise self._failed(error) from error.__cause__

    def _ask_slot(self, packed: Sequence[bytes], *, waits: bool) -> list[Any]:
        """As `_ask`: commands of which a node has executed nothing are sent again, in their order, until their time is
        up. `waits`: also while their slot is on its way, or nobody's."""
        gives_up = time.monotonic() + bounded(HELD_WITHIN)
        replies = list[Any]()
        left, pause = list(range(len(packed))), 0.0
        while True:
            try:
                found = self._exchange(b"".join([packed[number] for number in left]), len(left))
            except StoreRefused as error:  # while a connection was made: nothing was sent
                if not not_here(error) or time.monotonic() > gives_up or not (waits or error.code == MOVED):
                    raise
                found = [error] * len(left)
            if not replies:
                replies = found
            for number, reply in zip(left, found, strict=True):
                replies[number] = reply
            left = [number for number in left if not_here(replies[number])]
            moved = next((replies[number] for number in left if replies[number].code == MOVED), None)
            if not left or time.monotonic() > gives_up or not (waits or moved is not None):
                return replies
            if moved is not None and isinstance(behind := guide_of(self._url), SlotGuide):
                behind.ask_first(moved.text)
            if self._kept is not None and moved is not None:
                self._kept.close_idle()
            time.sleep(pause)  # at first none: the node that has the slot answers
            pause = ASKED_EVERY

    def _exchange(self, packed: bytes, count: int) -> list[Any]:
        self._connected()  # who has just begun to follow is told as well of a master that is next
        self._wait_until_settled()
        began = time.monotonic()
        try:
            replies = self._connected().exchange(packed, count)
        except (RedisError, OSError) as error:
            found = from_client(error)
            if self._wait_once and not isinstance(found, StoreRefused):
                self.outage.silent(time.monotonic() - began, self._timeout)
            raise found from error
        self.outage.answered()
        return replies

    def _asked(self, packed: Sequence[bytes], *, waits: bool = True) -> list[Any]:
        if self._in_cluster:
            return self._ask_slot(packed, waits=waits)
        return self._exchange(b"".join(packed), len(packed))

    def _ask_for_place(self, place: Place) -> None:
        """Ask whether this process may still call this Redis. Raises StoreRefused where it may not."""
        if not place.layout.ids:
            if self._kept is not None:
                self._kept.close_idle()
            return  # the next connection asks
        sent, command = time.monotonic(), pack(place.command())
        [reply] = self._asked([command])
        if isinstance(reply, StoreRefused) and reply.code == UNKNOWN_SCRIPT:
            [reply] = self._asked([in_full(command, LAYOUT.sha, LAYOUT.text.encode())])
        if isinstance(reply, StoreRefused):
            place.failed(sent, reply)
        else:
            place.read(sent, reply)

    def _wait_until_settled(self) -> None:
        """Wait while calls are held back. Raises StoreNotAsked where that takes longer than a call may."""
        if self._settled.is_set():
            return
        left = max(0.0, self._settled_by - time.monotonic())
        patience = bounded(min(left, self._timeout))
        if self._settled.wait(patience):
            return
        if patience < left:
            raise StoreNotAsked(f"{self._name} is about to have another master, and has none yet")
        self._settled.set()

    def _ask_again(self) -> None:
        """Whether an outage is over."""
        self._exchange(pack(("PING",)), 1)

    def _no_outage(self) -> Outage:
        return Outage(self._name, self._ask_again)

    def _failed(self, error: StoreUnavailable) -> StoreUnavailable:
        """Count a failure; connections to a server that is not the right one are given up."""
        if not isinstance(error, StoreRefused):
            self._stats.unavailable += 1
            return error
        self._stats.refuse(error)
        kept = self._kept
        if error.code in ELSEWHERE and kept is not None:
            kept.close_idle()
        return error

    # Connecting

    def _connected(self) -> Kept:
        """The connections; one is made when somebody asks and none is idle."""
        kept = self._kept
        if kept is None:
            kept = self._kept = Kept(self._made())
        return kept

    def _made(self) -> Callable[[], Timed]:
        # connecting is tried once more, at once; but nobody waits twice for a silent Redis
        options = options_of(self._timeout, Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)))
        if self._partitions is not None:
            options["redis_connect_func"] = self._greet
        if (behind := guide_of(self._url)) is not None:
            behind.follow(self)
        return connections(self._url, **options)

    def _greet(self, connection: Any) -> None:
        """Begin a connection as `Link` does: before anything else, what is known of the partitions is compared."""
        partitions = self._partitions
        assert partitions is not None  # it is not called without any
        connection.on_connect()
        try:
            _say(connection, [("SCRIPT", "LOAD", script.text) for script in (LAYOUT, *partitions.scripts)])
            place, in_cluster = self._place, self._in_cluster
            if place is None or not place.layout.ids:
                run = run_of_master(partitions, _say(connection, QUESTIONS), in_cluster=in_cluster)
            if place is not None:
                place.layout.enter()
                run = self._placed(connection, partitions, place)
            everything = range(len(partitions.all))
            partitions.answered(run, everything, _say(connection, partitions.questions(run, everything)))
        except BaseException:
            connection.disconnect()  # or the pool would use it again
            raise

    def _placed(self, connection: Any, partitions: Partitions, place: Place) -> str:
        """As `greeting` does: whether this process may call this Redis, and its run, in one round trip."""
        sent, asked = time.monotonic(), (*QUESTIONS, place.command())
        connection.send_packed_command([pack(one) for one in asked], check_health=False)
        answers = [connection.read_response() for _ in QUESTIONS]
        run = run_of_master(partitions, answers, in_cluster=self._in_cluster)
        try:
            answer = connection.read_response()
        except ResponseError as error:
            if not place.keeps_without(sent, error):
                raise
        else:
            place.read(sent, answer)
        return run

    def _compare(self, partitions: Partitions) -> None:
        """Ask again whether a doubt is over, and make partitions that are gone."""
        everything = range(len(partitions.all))
        run = partitions.run_of(self.execute("INFO", "server"))
        answers = self.batch(partitions.questions(run, everything))
        partitions.answered(run, everything, answers)


def _say(connection: Any, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    connection.send_packed_command([pack(tuple(command)) for command in commands], check_health=False)
    return [connection.read_response() for _ in commands]


def _codes(replies: Sequence[Any]) -> set[str]:
    """The codes of the errors among some replies, "" for those that are none."""
    return {reply.code if isinstance(reply, StoreRefused) else "" for reply in replies}
