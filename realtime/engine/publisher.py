"""Publishing into one channel, by those who do it over and over: the call is packed once, but for the publication.

What is sent is byte for byte what `calls.publish` makes of the same publication.
"""

from flotilla.realtime.engine import calls, envelope
from flotilla.realtime.engine.calls import StreamOptions
from flotilla.store import Store
from flotilla.store.partitions import Partition
from flotilla.store.resp import array, words
from flotilla.store.waiting import Waiting


class Publisher:
    """What does not change from one publication of a channel to the next. `options`: those it was made for.
    `partition`: what this process knows of the channel's."""

    __slots__ = ("_begin", "_end", "_head", "_shard", "channel", "options", "partition")

    def __init__(self, store: Store, channel: str, options: StreamOptions, partition: Partition | None) -> None:
        call = calls.publish(channel, b"", options)
        topic, _, _, *rest = call.args
        begin = words("EVALSHA", call.script.sha, len(call.keys), *call.keys, topic)
        self.channel = channel
        self.options = options
        self.partition = partition
        self._shard = store.shard_for(call.placement)
        self._begin = array(3 + len(call.keys) + len(call.args)) + begin
        self._head = envelope.publication_head(channel)
        self._end = words(*rest)

    def packed(self, body: bytes) -> bytes:
        """The call that publishes `body`, as Redis reads it."""
        size = len(body)
        before = envelope.bin_head(size)
        length = len(self._head) + len(before)
        return b"%b$%d\r\n%b%b\r\n$%d\r\n%b\r\n%b" % (self._begin, length, self._head, before, size, body, self._end)

    def send(self, body: bytes, waiting: Waiting) -> None:
        """Send a publication off at once, in the order of calls; its answer is for `Broker.answered`."""
        self._shard.send(self.packed(body), waiting, calls.PUBLISH)
