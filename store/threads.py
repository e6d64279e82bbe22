"""One Redis as threads call it, over connections that all threads of the process share (`kept`).

Calls keep the deadline of their thread (`deadline`), and where that is wanted they fail at once while Redis is known to
be silent (`outage`): the rate limits have a breaker of their own instead, which tells slow from silent. A new
connection begins as those of coroutines do, by comparing what is known of the partitions (`link`). Behind
sentinels, `moved` has the next call begin with the new master.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.store.deadline import Timed, bounded
from flotilla.store.errors import ELSEWHERE, UNKNOWN_SCRIPT, StoreRefused, StoreUnavailable, from_client
from flotilla.store.kept import Kept
from flotilla.store.link import COMPARE_EVERY, HELD_WITHIN
from flotilla.store.outage import Outage
from flotilla.store.partitions import DOUBT, Partitions, run_of
from flotilla.store.pools import connections, options_of, sentinels
from flotilla.store.resp import Argument, in_full, pack
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats


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
    ) -> None:
        self._name = name
        self._url = url
        self._timeout = timeout
        self._stats = stats
        self._partitions = partitions
        self._wait_once = wait_once
        self._kept: Kept | None = None
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
            time.sleep(COMPARE_EVERY)
            self._compare(self._partitions)

    def execute(self, *command: Argument) -> Any:
        """Run one command and return its raw reply."""
        return self.batch([command])[0]

    def batch(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Several commands in one round trip; an error among the replies is raised."""
        if not commands:
            return []
        replies = self._ask(b"".join([pack(tuple(command)) for command in commands]), len(commands))
        for reply in replies:
            if isinstance(reply, StoreRefused):
                raise self._failed(reply)
        return replies

    def moved(self) -> None:
        """Another server is the master: calls begin with new connections. One that is under way finishes."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def close(self) -> None:
        """Close all connections; another call makes new ones."""
        self.outage.end()
        self.outage = self._no_outage()
        kept, self._kept = self._kept, None
        if kept is not None:
            if (behind := sentinels(self._url)) is not None:
                behind.leave(self)
            kept.close()

    # Asking

    def _run_once(self, packed: bytes, script: Script) -> Any:
        """The script's reply, which may be an error."""
        [reply] = self._ask(packed, 1)
        if isinstance(reply, StoreRefused) and reply.code == UNKNOWN_SCRIPT:
            [reply] = self._ask(in_full(packed, script.sha, script.text.encode()), 1)
        return reply

    def _ask(self, packed: bytes, count: int) -> list[Any]:
        """One round trip of so many commands, error replies among the replies. Raises StoreNotAsked in an outage."""
        try:
            self.outage.require_none()
            self._stats.commands += count
            return self._exchange(packed, count)
        except StoreUnavailable as error:
            raise self._failed(error) from error.__cause__

    def _exchange(self, packed: bytes, count: int) -> list[Any]:
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
        if (behind := sentinels(self._url)) is not None:
            behind.follow(self)
        return connections(self._url, **options)

    def _greet(self, connection: Any) -> None:
        """Begin a connection as `Link` does: before anything else, what is known of the partitions is compared."""
        partitions = self._partitions
        assert partitions is not None  # it is not called without any
        connection.on_connect()
        try:
            _say(connection, [("SCRIPT", "LOAD", script.text) for script in partitions.scripts])
            run, everything = run_of(_say(connection, [("INFO", "server")])[0]), range(len(partitions.all))
            partitions.answered(run, everything, _say(connection, partitions.questions(run, everything)))
        except BaseException:
            connection.disconnect()  # or the pool would use it again
            raise

    def _compare(self, partitions: Partitions) -> None:
        """Ask again whether a doubt is over, and make partitions that are gone."""
        everything = range(len(partitions.all))
        run = run_of(self.execute("INFO", "server"))
        answers = self.batch(partitions.questions(run, everything))
        partitions.answered(run, everything, answers)


def _say(connection: Any, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    connection.send_packed_command([pack(tuple(command)) for command in commands], check_health=False)
    return [connection.read_response() for _ in commands]
