"""Spans: which are sampled, whose parts they are, and that no provider is waited for."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler

from flotilla import spans, tracing
from flotilla.spans import Recorder
from tests.realtime.seen_spans import PARENT, TRACEPARENT, UNSAMPLED, Seen, about, itself, parent_of

PATIENCE = 20.0  # seconds


@pytest.fixture
def seen() -> Seen:
    return Seen()


def closed(recorder: Recorder) -> None:
    """Everything that has ended is exported."""
    recorder.close().result(PATIENCE)


def test_a_sampled_parent_is_gone_on_from_whatever_the_ratio(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 0.0, instance="one")
    span = recorder.begin("api publish", caller={"traceparent": TRACEPARENT}, serves=True)
    assert span is not None
    span.end()
    closed(recorder)
    (made,) = seen.spans
    assert parent_of(made) == PARENT
    assert made.kind is trace.SpanKind.SERVER
    assert about(made) == {"instance": "one"}


def test_what_a_caller_does_not_sample_is_not_sampled(seen: Seen) -> None:
    assert Recorder(seen.provider, 1.0).begin("api publish", caller={"traceparent": UNSAMPLED}) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        TRACEPARENT[:-1],
        f"{TRACEPARENT}0",
        f"{TRACEPARENT}-00",  # version 00 has four parts
        TRACEPARENT.replace("00-", "ff-", 1),
        TRACEPARENT.replace("00-", "0-", 1),
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-{PARENT[1]}-01",
        f"00-{PARENT[0]}-{'0' * 16}-01",
        f"00-{PARENT[0]}-{PARENT[1]}-0g",
        f"{TRACEPARENT},{TRACEPARENT}",  # two headers
        f"{TRACEPARENT}\x00",
        "00-" + "a" * 100_000,
        f"00-{PARENT[0]}-{PARENT[1]}-01" + "-" * 100_000,
        "٠٠-" + TRACEPARENT[3:],  # digits, but not these
    ],
)
def test_a_broken_parent_is_none(seen: Seen, header: str) -> None:
    """https://www.w3.org/TR/trace-context/#traceparent-header: then chance decides, and a trace begins here."""
    assert Recorder(seen.provider, 0.0).begin("api publish", caller={"traceparent": header}) is None
    span = Recorder(seen.provider, 1.0).begin("api publish", caller={"traceparent": header})
    assert span is not None
    assert span.trace_id != PARENT[0]


def test_a_later_version_is_read_as_far_as_it_is_known(seen: Seen) -> None:
    header = TRACEPARENT.replace("00-", "cc-", 1) + "-what-the-future-brings"
    span = Recorder(seen.provider, 0.0).begin("api publish", caller={"traceparent": header})
    assert span is not None
    assert span.trace_id == PARENT[0]


def test_the_state_of_a_vendor_is_passed_on(seen: Seen) -> None:
    span = Recorder(seen.provider, 0.0).begin("x", caller={"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"})
    assert span is not None
    assert span.headers["tracestate"] == "a=1,b=2"
    assert span.headers["traceparent"].startswith(f"00-{PARENT[0]}-")
    broken = Recorder(seen.provider, 0.0).begin("x", caller={"traceparent": TRACEPARENT, "tracestate": "=,;\x00"})
    assert broken is not None
    assert broken.headers.keys() == {"traceparent"}


def test_the_projects_own_span_is_gone_on_from(seen: Seen) -> None:
    """Which has read the caller's headers already."""
    recorder = Recorder(seen.provider, 0.0)
    with seen.provider.get_tracer("project").start_as_current_span("view") as view:
        span = recorder.begin("publish", caller={"traceparent": TRACEPARENT})
    assert span is not None
    assert span.trace_id == trace.format_trace_id(view.get_span_context().trace_id)


def test_the_ratio_is_kept(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 0.2)
    share = sum(recorder.begin("publish") is not None for _ in range(5000)) / 5000
    assert 0.15 < share < 0.25  # twelve standard deviations to both sides


def test_a_providers_sampler_has_the_last_word() -> None:
    assert Recorder(TracerProvider(ALWAYS_OFF, shutdown_on_exit=False), 1.0).begin("publish") is None


def test_a_span_ends_no_earlier_than_its_parts(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 1.0)
    span = recorder.begin("command publish")
    assert span is not None
    with span.entered():
        current = tracing.current()
        assert current is span
        part = current.child("redis publish", {"namespace": "chat"}, sends=True)
    assert span.over
    assert tracing.current() is None
    now = time.time_ns()
    part.note(offset=7)
    part.end(now)
    closed(recorder)
    first, last = seen.spans
    assert (first.name, last.name) == ("redis publish", "command publish")
    assert parent_of(first) == itself(last)
    assert first.kind is trace.SpanKind.PRODUCER
    assert about(first) == {"namespace": "chat", "offset": 7}
    assert first.end_time == last.end_time == now


def test_a_step_without_a_span_is_nothing() -> None:
    with tracing.step("permission", hook="x") as span:
        assert span is None


def test_an_exception_is_the_error_of_a_step_and_its_text_stays_here(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 1.0)
    span = recorder.begin("api publish")
    assert span is not None
    with pytest.raises(ValueError), span.entered(), tracing.step("permission"):
        raise ValueError("the card number 4711")
    closed(recorder)
    for made in seen.spans:
        assert made.status.status_code is trace.StatusCode.ERROR
        assert made.status.description == "ValueError"
        assert not made.events


async def test_a_task_that_outlives_its_span_has_none(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 1.0)
    span = recorder.begin("command subscribe")
    assert span is not None
    gone = asyncio.Event()

    async def work() -> tracing.Span | None:
        await gone.wait()
        return tracing.current()

    with span.entered():
        task = asyncio.create_task(work())
    gone.set()
    assert await task is None
    closed(recorder)


class Stuck(SpanExporter):
    """Exports when it is let, and raises if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may = threading.Event()
        self.exported: list[str] = []
        self._error = error

    def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
        self.may.wait(PATIENCE)
        if self._error is not None:
            raise self._error
        self.exported += [span.name for span in batch]
        return SpanExportResult.SUCCESS


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    exporter = Stuck()
    yield exporter
    exporter.may.set()


def _exporting(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def test_nobody_waits_for_an_exporter(stuck: Stuck) -> None:
    """Not even for one that exports at once: what is too much is dropped and counted, and it goes on when it can."""
    recorder = Recorder(_exporting(stuck), 1.0)
    for _ in range(spans.MAX_ENDED + 50):
        span = recorder.begin("publish")
        assert span is not None
        span.end()
    assert not stuck.exported
    assert 40 <= recorder.dropped <= 50  # some are in the thread's hands
    closing = recorder.close()
    assert not closing.done()
    stuck.may.set()
    closing.result(PATIENCE)
    assert len(stuck.exported) == recorder.ended == spans.MAX_ENDED + 50 - recorder.dropped


def test_a_provider_that_raises_costs_its_spans_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Raises(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("no disk")

        def shutdown(self) -> None:
            raise RuntimeError("no shutdown")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Raises(Stuck()))
    recorder = Recorder(provider, 1.0)
    for _ in range(5):
        span = recorder.begin("publish")
        assert span is not None
        span.end()
    closed(recorder)
    assert (recorder.ended, recorder.dropped) == (0, 5)
    assert [record.message for record in caplog.records if record.name == "flotilla.tracing"] == [
        "a span could not be given to the tracer provider"
    ]


def test_a_sampler_that_raises_costs_its_spans_alone() -> None:
    class Raises(Sampler):
        def should_sample(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no sample")

        def get_description(self) -> str:
            return "raises"

    assert Recorder(TracerProvider(Raises(), shutdown_on_exit=False), 1.0).begin("publish") is None


def test_what_ends_after_the_close_is_dropped(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 1.0)
    span = recorder.begin("publish")
    assert span is not None
    closed(recorder)
    assert recorder.close().done()
    span.end()
    assert (recorder.ended, recorder.dropped, seen.spans) == (0, 1, [])


def test_spans_may_end_in_any_thread(seen: Seen) -> None:
    recorder = Recorder(seen.provider, 1.0)

    def publish(_: int) -> None:
        span = recorder.begin("publish")
        assert span is not None
        with span.entered(), tracing.step("redis publish"):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(200)))
    closed(recorder)
    assert len(seen.spans) == recorder.ended == 400


def test_without_a_provider_nothing_is_sampled() -> None:
    recorder = Recorder(None, 1.0)
    assert recorder.idle
    assert recorder.begin("publish") is None
