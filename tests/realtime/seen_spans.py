"""The spans that a process of the tests has ended, by a real SDK whose exporter keeps them."""

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.store.redis_process import until

PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{PARENT[0]}-{PARENT[1]}-01"
UNSAMPLED = f"00-{PARENT[0]}-{PARENT[1]}-00"


class Seen:
    """A provider (calling this gives it), and what it has exported."""

    def __init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def __call__(self) -> TracerProvider:
        return self.provider

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def names(self) -> set[str]:
        return {span.name for span in self.spans}

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name, the first to end first."""
        return [span for span in self.spans if span.name == name]

    async def one(self, name: str) -> ReadableSpan:
        """The one of a name, as soon as it is there."""
        await until(lambda: bool(self.named(name)))
        (span,) = self.named(name)
        return span


def about(span: ReadableSpan) -> dict[str, Any]:
    """Its own attributes, without their prefix."""
    return {key.removeprefix("flotilla."): value for key, value in (span.attributes or {}).items()}


def parent_of(span: ReadableSpan) -> tuple[str, str]:
    """Trace and span that it is a part of, in hexadecimal digits."""
    assert span.parent is not None
    return f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}"


def itself(span: ReadableSpan) -> tuple[str, str]:
    """Its trace and its own id, likewise."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"
