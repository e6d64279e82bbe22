"""The figures of the last hour, so that the page “Cluster” has something to show when it is opened, or opened again.

Every instance adds a sample each ten seconds to one bounded history in Redis, where they outlive the instance that took
them: a rolling restart leaves no hole. What Redis does not take is kept, and follows when it does; a sample carries the
time it was taken at. Nobody can subscribe to the channel, nor publish into it.
"""

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.protocol.replies import publication_body
from flotilla.store import StoreUnavailable

CHANNEL = "flotilla:figures"
EVERY = 10.0  # seconds
SPAN = 3600.0  # seconds
PER_INSTANCE = int(SPAN / EVERY)
MOST = 20 * PER_INSTANCE  # samples: an hour of 20 instances, about 2 MB; of more instances it is less than an hour
MAX_BYTES = 16_000_000  # of all samples, when they are read
OPTIONS = ChannelOptions(history_size=MOST, history_ttl=SPAN, history_meta_ttl=2 * SPAN)


class Recorder:
    """Takes this instance's samples to Redis, an hour of them at most while it is away. Not to be shared by tasks."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque(maxlen=PER_INSTANCE)

    def add(self, figures: dict[str, Any], now: float | None = None) -> None:
        """Keep a sample. Its time is rounded down to `EVERY`, so that the instances' samples stand side by side."""
        at = int((now or time.time()) // EVERY * EVERY)
        self._kept.append(publication_body(msgspec.json.encode({"at": at} | figures)))

    async def send(self, broker: Broker) -> None:
        """Send what is kept, in order, as far as Redis takes it."""
        while self._kept:
            try:
                await broker.publish(CHANNEL, self._kept[0], OPTIONS)
            except StoreUnavailable:
                return
            self._kept.popleft()


def read(broker: Broker, now: float | None = None) -> list[dict[str, Any]]:
    """The samples of the last hour, in the order of their times, then of their instances. Raises StoreUnavailable."""
    since = (now or time.time()) - SPAN
    page = broker.history_sync(CHANNEL, OPTIONS, limit=MOST, reverse=True, max_bytes=MAX_BYTES)
    found = [msgspec.json.decode(publication.body, type=_Told).data for publication in page.publications]
    return sorted((one for one in found if one["at"] > since), key=lambda one: (one["at"], one["instance"]))


def table(samples: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Samples as one list of `names` and a `rows` list of values in their order: a third of the bytes."""
    samples = list(samples)
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    return {"names": names, "rows": [[sample.get(name) for name in names] for sample in samples]}


class _Told(msgspec.Struct):
    data: dict[str, Any]
