"""Spans of publications that were sent with a trace, in a process that receives them: what became of each, and when.

    deliver         from Redis's time to the last local socket
      pub/sub       from there to this process, its event loop's wait included
      fan-out       from there to the last write; or
      refill        the same where something before it was missing, and it came from history with that

A publication without a trace meets one look at a dictionary. Those that wait for a refill are few, and bounded.
"""

import time
from typing import TYPE_CHECKING, Any

from flotilla.realtime import traces
from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.local_channel import Flow, LocalChannel
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.engine.stats import HubStats

if TYPE_CHECKING:
    from flotilla.spans import RecordedSpan, Recorder

MAX_OPEN = 256  # deliveries; of more, the oldest are given up
SECOND = 1_000_000_000  # nanoseconds


class TracedDeliveries:
    """Times deliveries. Moments are monotonic seconds, as the hub has them."""

    def __init__(self, recorder: "Recorder", stats: HubStats) -> None:
        self._recorder = recorder
        self._stats = stats
        self._open: list[_Delivery] = []

    @classmethod
    def of_this_process(cls, stats: HubStats) -> "TracedDeliveries | None":
        """None where tracing is off."""
        recorder = traces.recorder()
        return None if recorder is None else cls(recorder, stats)

    def received(self, channel: LocalChannel, position: StreamPosition, message: dict[str, Any], at: float) -> None:
        """A publication with a trace has come, and is about to be handed on."""
        if channel.flow is Flow.CONFIRMING or _is_known(channel, position):
            return  # nobody here is given it
        lag = self._lag(channel, message.get("t"), at)
        since = _unix(at - (lag or 0.0))
        about = traces.about(channel.name) | {"offset": position.offset}
        span = self._recorder.follow(message[envelope.TRACE], "deliver", about, since)
        if span is None:
            return
        if lag is not None:
            span.note(lag=lag)
            span.child("pub/sub", since=since).end(_unix(at))
        self._open.append(_Delivery(channel, position.offset, span, at, lag))
        if len(self._open) > MAX_OPEN:
            given_up = self._open.pop(0).span
            given_up.fail("not delivered while it was looked for")
            given_up.end()

    def _lag(self, channel: LocalChannel, stamp: int | None, at: float) -> float | None:
        """Seconds since Redis's stamp (µs), as the metrics have it; None where that is not known."""
        shard = self._stats.shard_of(channel.name)
        taken = self._stats.clocks.ours(shard, stamp * 1e-6) if stamp else None
        return None if taken is None else max(0.0, at - taken)  # the clocks are known to half a round trip

    def written(self, channel: LocalChannel, at: float, together: int) -> None:
        """A channel's subscribers here were written all up to its position, so many publications in one message."""
        for delivery in self._through(channel):
            delivery.span.note(together=together)
            delivery.end("fan-out", at)
            if delivery.lag is not None:
                self._stats.exemplify(delivery.span.trace_id, delivery.lag + at - delivery.received_at)

    def refilled(self, channel: LocalChannel, at: float, *, complete: bool) -> None:
        """The same, of what came from history; or it was not `complete` there, and is lost for these subscribers."""
        for delivery in self._through(channel):
            if not complete:
                delivery.span.fail("history no longer had what was missing")
            delivery.end("refill", at)

    def _through(self, channel: LocalChannel) -> list["_Delivery"]:
        """Those of a channel that are not open any more."""
        if not self._open:
            return []
        through = [one for one in self._open if one.channel is channel and one.offset <= channel.position.offset]
        self._open = [one for one in self._open if one not in through]
        return through


class _Delivery:
    """One that is under way."""

    __slots__ = ("channel", "lag", "offset", "received_at", "span")

    def __init__(
        self, channel: LocalChannel, offset: int, span: "RecordedSpan", received_at: float, lag: float | None
    ) -> None:
        self.channel = channel
        self.offset = offset
        self.span = span
        self.received_at = received_at
        self.lag = lag

    def end(self, last: str, at: float) -> None:
        """Its last part is over, and so is it."""
        channel, end = self.channel, _unix(at)
        self.span.child(last, since=_unix(self.received_at)).end(end)
        self.span.note(receivers=len(channel.followers), fed=len(channel.feeds), joining=len(channel.joining))
        self.span.end(end)


def _is_known(channel: LocalChannel, position: StreamPosition) -> bool:
    """Whether it was delivered before, as after a refill that has overtaken it."""
    ours = channel.position
    return 0 < position.offset <= ours.offset and position.epoch == ours.epoch


def _unix(at: float) -> int:
    """A monotonic moment as one of Unix time."""
    return time.time_ns() - int((time.monotonic() - at) * SECOND)
