"""Spans made with OpenTelemetry (the extra `tracing`): which are sampled, and how they get to the project's provider.

A trace begins where a caller's sampled trace comes in, or by chance (`ratio`). What a caller does not sample is not
sampled here, and what a provider's own sampler refuses has no span. Headers that are not as the W3C has them are as
none: https://www.w3.org/TR/trace-context/

A span is begun where the work is, and ended in a thread of its own. So nobody waits for an exporter that is slow or
hangs, also where a processor exports at once; what cannot be taken is dropped and counted, and nothing is raised.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from random import random
from threading import Lock, Thread
from typing import Any

from flotilla._extras import MissingExtra
from flotilla.tracing import NONE, Attributes, Value, current_span

try:
    from opentelemetry import context, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise MissingExtra("tracing", "tracing", "opentelemetry-api") from error

logger = logging.getLogger("flotilla.tracing")

MAX_ENDED = 2048  # spans that wait for the thread
COMPLAIN_EVERY = 60.0  # seconds between two lines in the log about what a provider raises

Provider = trace.TracerProvider
Parent = context.Context

_w3c = TraceContextTextMapPropagator()


class Recorder:
    """Begins spans. `ratio`: the share that is sampled of what no caller has decided on. `about`: attributes of every
    span that no other span of this process is around. Methods may be called in any thread and never raise."""

    def __init__(self, provider: Provider | None, ratio: float, **about: Value) -> None:
        """`provider`: None for the one that the project, or `opentelemetry-instrument`, sets for the whole process."""
        self.ratio = ratio
        self.ended = 0  # spans that the provider was given
        self.dropped = 0  # spans that it was not, as it was late or raised
        self._about = about
        self._own = provider
        self._tracer = self._provider.get_tracer("flotilla")
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._lock = Lock()
        self._closed: Future[None] | None = None
        self._complained_at = 0.0

    @property
    def _provider(self) -> Provider:
        return self._own or trace.get_tracer_provider()

    @property
    def idle(self) -> bool:
        """Whether nobody has set a provider so far: nothing is sampled until somebody does."""
        return isinstance(self._provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)

    def begin(
        self,
        name: str,
        attributes: Attributes = NONE,
        *,
        caller: Mapping[str, str] | None = None,
        serves: bool = False,
    ) -> "RecordedSpan | None":
        """Begin a trace here, or go on with the current one of the project's, or that of a caller's headers (names in
        small letters); None where that is not sampled. `serves`: a caller waits for it."""
        within = context.get_current()
        around = trace.get_current_span(within).get_span_context()
        if not around.is_valid and caller:
            within = self._extracted(caller)
            around = trace.get_current_span(within).get_span_context()
        if not (around.trace_flags.sampled if around.is_valid else self.by_chance()):
            return None
        return self.start(name, within, SpanKind.SERVER if serves else SpanKind.INTERNAL, None, attributes)

    def by_chance(self) -> bool:
        """Whether what nobody else has decided on is sampled, this time."""
        return random() < self.ratio

    def root(self, name: str, attributes: Attributes = NONE, *, since: int | None = None) -> "RecordedSpan | None":
        """Begin a trace whatever is current: chance has decided for it, and somebody waits for the work."""
        return self.start(name, context.Context(), SpanKind.SERVER, since, attributes)

    def follow(
        self, headers: Mapping[str, str], name: str, attributes: Attributes, since: int
    ) -> "RecordedSpan | None":
        """Begin what follows in this process from a span that another one sent on; None where that cannot be read."""
        within = self._extracted(headers)
        if not trace.get_current_span(within).get_span_context().trace_flags.sampled:
            return None
        return self.start(name, within, SpanKind.CONSUMER, since, attributes)

    def start(
        self,
        name: str,
        within: Parent,
        kind: SpanKind,
        since: int | None,
        attributes: Attributes,
        parent: "RecordedSpan | None" = None,
    ) -> "RecordedSpan | None":
        """A span, unless the provider's sampler refuses it. Its own name and attributes are what a sampler sees."""
        about = attributes if parent is not None else {**self._about, **attributes}
        try:
            made = self._tracer.start_span(name, within, kind, _prefixed(about), start_time=since)
        except Exception:  # noqa: BLE001  a project's sampler or processor can raise anything
            self._complain("a span could not be begun")
            return None
        return RecordedSpan(self, made, parent) if made.is_recording() else None

    def end(self, finish: Callable[[], object]) -> None:
        """Have a span ended by the thread."""
        if self._waiting.qsize() >= MAX_ENDED or self._closed is not None:
            self.dropped += 1
            return
        if self._thread is None:
            self._begin_thread()
        self._waiting.put(finish)

    def close(self) -> "Future[None]":
        """Give the provider what has ended, and shut it down; done when that is done, however long that takes."""
        with self._lock:
            if self._closed is None:
                self._closed = Future()
                self._closed.set_running_or_notify_cancel()  # from now on nobody can cancel it
                self._waiting.put(None)
        self._begin_thread()
        return self._closed

    def _begin_thread(self) -> None:
        with self._lock:
            if self._thread is None:  # daemon: a process does not wait at its end for what hangs
                self._thread = Thread(target=self._end_all, name="traces", daemon=True)
                self._thread.start()

    def _end_all(self) -> None:
        while (finish := self._waiting.get()) is not None:
            try:
                finish()
                self.ended += 1
            except Exception:  # noqa: BLE001  so can its processors and exporters
                self.dropped += 1
                self._complain("a span could not be given to the tracer provider")
        try:
            shutdown: Callable[[], object] = getattr(self._provider, "shutdown", lambda: None)  # the API has none
            shutdown()
        except Exception:  # noqa: BLE001  the same
            self._complain("the tracer provider could not be shut down")
        if self._closed is not None:
            self._closed.set_result(None)

    def _extracted(self, headers: Mapping[str, str]) -> Parent:
        try:
            return _w3c.extract(headers, context.Context())
        except Exception:  # noqa: BLE001  what comes from elsewhere may be no headers at all
            self._complain("a trace could not be read")
            return context.Context()

    def _complain(self, what: str) -> None:
        now = time.monotonic()
        if not self._complained_at or now - self._complained_at > COMPLAIN_EVERY:
            self._complained_at = now
            logger.exception("%s", what)


class RecordedSpan:
    """A span that is sampled (`flotilla.tracing.Span`). It ends no earlier than its parts of this process."""

    __slots__ = ("_attributes", "_ended_at", "_error", "_parent", "_parts", "_recorder", "span")

    def __init__(self, recorder: Recorder, span: trace.Span, parent: "RecordedSpan | None" = None) -> None:
        self.span = span
        self._recorder = recorder
        self._parent = parent
        self._parts = 0  # that are not over
        self._attributes: dict[str, Value] = {}
        self._error: str | None = None
        self._ended_at = 0

    @property
    def over(self) -> bool:
        """Whether it was ended."""
        return self._ended_at != 0

    @property
    def trace_id(self) -> str:
        """As backends show it: 32 hexadecimal digits."""
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    @property
    def headers(self) -> dict[str, str]:
        """Itself as the W3C's headers."""
        found: dict[str, str] = {}
        _w3c.inject(found, self._context())
        return found

    def child(
        self, name: str, attributes: Attributes = NONE, *, sends: bool = False, since: int | None = None
    ) -> "RecordedSpan":
        """A part of it, begun now or at a moment."""
        kind = SpanKind.PRODUCER if sends else SpanKind.INTERNAL
        part = self._recorder.start(name, self._context(), kind, since, attributes, self)
        if part is None:
            return RecordedSpan(self._recorder, trace.NonRecordingSpan(self.span.get_span_context()))
        self._parts += 1
        return part

    def note(self, **attributes: Value) -> None:
        """Say more about it."""
        self._attributes |= attributes

    def fail(self, why: str) -> None:
        """It came to an error."""
        self._error = why

    def end(self, at: int | None = None) -> None:
        """It is over, as soon as its last part is."""
        if not self._ended_at:
            self._ended_at = at or time.time_ns()
            if not self._parts:
                self._finish()

    def _part_is_over(self, at: int) -> None:
        self._parts -= 1
        if self._ended_at and not self._parts:
            self._ended_at = max(at, self._ended_at)
            self._finish()

    def _finish(self) -> None:
        self._recorder.end(self._tell)
        if self._parent is not None:
            self._parent._part_is_over(self._ended_at)

    def _tell(self) -> None:
        """Called in the recorder's thread."""
        self.span.set_attributes(_prefixed(self._attributes))
        if self._error is not None:
            self.span.set_status(Status(StatusCode.ERROR, self._error))
        self.span.end(self._ended_at)

    @contextmanager
    def entered(self, *, ends: bool = True) -> Iterator["RecordedSpan"]:
        """It is the current one in a block, here and for whatever else makes spans with OpenTelemetry."""
        ours, theirs = current_span.set(self), context.attach(self._context())
        try:
            yield self
        except BaseException as error:
            self._error = self._error or type(error).__name__  # its text may be of the project, and hold anything
            ends = True
            raise
        finally:
            context.detach(theirs)
            current_span.reset(ours)
            if ends:
                self.end()

    def _context(self) -> Parent:
        return trace.set_span_in_context(self.span)


def _prefixed(attributes: Attributes) -> dict[str, Any]:
    return {f"flotilla.{name}": value for name, value in attributes.items()}
