"""One Redis as threads call it: a pool of connections, shared by all threads of the process.

Calls keep the deadline of their thread (`deadline`), and where that is wanted they fail at once while Redis is known to
be silent (`outage`): the rate limits have a breaker of their own instead, which tells slow from silent. A new
connection begins as those of coroutines do, by comparing what is known of the partitions (`link`). Behind
sentinels, `moved` has the next call begin with the new master.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.store.deadline import bounded
from flotilla.store.errors import ELSEWHERE, UNKNOWN_SCRIPT, StoreRefused, StoreUnavailable, from_client
from flotilla.store.link import COMPARE_EVERY, HELD_WITHIN
from flotilla.store.outage import Outage
from flotilla.store.partitions import DOUBT, Partitions, run_of
from flotilla.store.pools import options_of, sentinels, sync_client
from flotilla.store.resp import Argument, pack
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
        self._client: redis.Redis | None = None
        self.outage = self._no_outage()

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run `script`; while its partition is in doubt it is asked again, until it is not."""
        gives_up = time.monotonic() + bounded(HELD_WITHIN)
        while True:
            try:
                return self._run_once(script, keys, args)
            except StoreRefused as error:
                if error.code != DOUBT or self._partitions is None or time.monotonic() > gives_up:
                    raise self._failed(error) from error.__cause__
            time.sleep(COMPARE_EVERY)
            self._compare(self._partitions)

    def execute(self, *command: Argument) -> Any:
        """Run one command and return its raw reply."""
        try:
            return self._ask(*command)
        except StoreRefused as error:
            raise self._failed(error) from error.__cause__

    def batch(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Several commands in one round trip; an error among the replies is raised."""
        if not commands:
            return []
        try:
            with self._asking(len(commands)) as client:
                pipeline = client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                replies = list(pipeline.execute(raise_on_error=False))
        except StoreUnavailable as error:
            raise self._failed(error) from error.__cause__
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._failed(from_client(reply)) from reply
        return replies

    def moved(self) -> None:
        """Another server is the master: calls begin with new connections. One that is under way finishes."""
        client, self._client = self._client, None
        if client is not None:
            client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all connections; another call makes new ones."""
        self.outage.end()
        self.outage = self._no_outage()
        client, self._client = self._client, None
        if client is not None:
            if (behind := sentinels(self._url)) is not None:
                behind.leave(self)
            client.close()

    # Asking

    def _run_once(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        try:
            return self._ask("EVALSHA", script.sha, len(keys), *keys, *args)
        except StoreRefused as error:
            if error.code != UNKNOWN_SCRIPT:
                raise
        return self._ask("EVAL", script.text, len(keys), *keys, *args)

    def _ask(self, *command: Argument) -> Any:
        try:
            with self._asking(1) as client:
                return client.execute_command(*command)
        except StoreRefused:
            raise
        except StoreUnavailable as error:
            raise self._failed(error) from error.__cause__

    @contextmanager
    def _asking(self, commands: int) -> Iterator[redis.Redis]:
        """The client, for one round trip. Raises StoreNotAsked in an outage."""
        self.outage.require_none()
        self._stats.commands += commands
        with self._timed() as client:
            yield client

    @contextmanager
    def _timed(self) -> Iterator[redis.Redis]:
        began = time.monotonic()
        try:
            yield self._connected()
        except (RedisError, OSError) as error:
            found = from_client(error)
            if self._wait_once and not isinstance(found, StoreRefused):
                self.outage.silent(time.monotonic() - began, self._timeout)
            raise found from error
        self.outage.answered()

    def _ask_again(self) -> None:
        """Whether an outage is over."""
        with self._timed() as client:
            client.execute_command("PING")

    def _no_outage(self) -> Outage:
        return Outage(self._name, self._ask_again)

    def _failed(self, error: StoreUnavailable) -> StoreUnavailable:
        """Count a failure; connections to a server that is not the right one are given up."""
        if not isinstance(error, StoreRefused):
            self._stats.unavailable += 1
            return error
        self._stats.refuse(error)
        client = self._client
        if error.code in ELSEWHERE and client is not None:
            client.connection_pool.disconnect(inuse_connections=False)
        return error

    # Connecting

    def _connected(self) -> redis.Redis:
        """The client; its pool connects when it is asked something."""
        client = self._client
        if client is None:
            client = self._made()
            client.response_callbacks.clear()  # replies as they are, like the asynchronous ones
            self._client = client
        return client

    def _made(self) -> redis.Redis:
        # an idle connection may have been closed, so try once more, at once; but do not wait twice for a silent Redis
        options = options_of(self._timeout, Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)))
        if self._partitions is not None:
            options["redis_connect_func"] = self._greet
        if (behind := sentinels(self._url)) is not None:
            behind.follow(self)
        return sync_client(self._url, **options)

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
