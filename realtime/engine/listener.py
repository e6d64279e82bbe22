"""Listening to one channel from outside an instance: a connection to Redis of its own, for a thread.

Between `with` and the end every publication is heard, in order, or StoreUnavailable says that some may be missing: a
connection that was lost is not made again. A Redis that is silent is asked whether it is still there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.publication import Publication
from flotilla.store import Store, StoreUnavailable, placement_of, reading
from flotilla.store.announcing import is_sharded
from flotilla.store.errors import from_client, is_unknown_command
from flotilla.store.pools import sync_client

ASK_EVERY = 5.0  # seconds of silence after which Redis is asked whether it is there


class Heard(NamedTuple):
    """A publication, the epoch of its stream ("" without history), and when Redis had it (Unix seconds, 0: unknown)."""

    publication: Publication
    epoch: str
    at: float


class Listener:
    """Listens to a channel while it is entered; iterating waits for what is published, without an end."""

    def __init__(self, store: Store, channel: str) -> None:
        self._channel = channel
        self._topic = placement_of(channel).topic
        shard = store.shard_for(placement_of(channel))
        self._timeout = shard.timeout
        self._client: redis.Redis = sync_client(
            shard.url,
            protocol=2,
            socket_timeout=shard.timeout,
            socket_connect_timeout=shard.timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._pubsub: Any = self._client.pubsub()

    def __enter__(self) -> Self:
        """Subscribe; what is published from now on is heard."""
        try:
            said = self._subscribe()
        except (RedisError, OSError) as error:
            self._close()
            raise from_client(error) from error
        if said is None or said["type"] not in ("subscribe", "ssubscribe"):
            self._close()
            raise StoreUnavailable("Redis does not answer: it is silent")
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __iter__(self) -> Iterator[Heard]:
        asked = False
        while True:
            try:
                said = self._pubsub.get_message(timeout=self._timeout if asked else ASK_EVERY)
                if said is None and not asked:
                    self._pubsub.ping()
            except (RedisError, OSError) as error:
                raise from_client(error) from error
            if said is None and asked:
                raise StoreUnavailable("Redis does not answer: it is silent")
            asked = said is None
            if said is None:
                continue
            if said["type"] == "sunsubscribe":
                raise StoreUnavailable("the channel's slot has moved to another node of the cluster")
            if said["type"] in ("message", "smessage") and (heard := self._read(said["data"])) is not None:
                yield heard

    def _subscribe(self) -> Any:
        """Subscribe as the channel layer does (`pubsub`); what Redis says to it, None where it says nothing."""
        if is_sharded(self._topic):
            try:
                self._pubsub.ssubscribe(self._topic)
                return self._pubsub.get_message(timeout=self._timeout)
            except ResponseError as error:
                if not is_unknown_command(str(error)):
                    raise
                self._pubsub.reset()  # which would subscribe so again at its next connection
        self._pubsub.subscribe(self._topic)
        return self._pubsub.get_message(timeout=self._timeout)

    def _read(self, message: bytes) -> Heard | None:
        with reading("a message of the channel layer"):
            told = envelope.decode(message)
            if told["type"] != envelope.PUBLICATION or told["c"] != self._channel:
                return None
            return Heard(
                Publication.read(int(told["o"]), bytes(told["d"])), _text(told["e"]), int(told.get("t", 0)) / 1e6
            )

    def _close(self) -> None:
        self._pubsub.close()
        self._client.close()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
