"""A receiver of OTLP over HTTP, as a collector is one: keeps the spans that it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Sent(NamedTuple):
    """A span. Ids are hexadecimal; `about` has its attributes without their prefix; times are nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    about: dict[str, Any]


class Collector:
    """Use as `with collector.listening()`; while `silent`, it takes requests and never answers."""

    def __init__(self) -> None:
        self.spans: list[Sent] = []
        self.requests = 0
        self.silent = False
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def listening(self) -> Iterator["Collector"]:
        """For the time of a block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def of(self, trace: str) -> dict[str, list[Sent]]:
        """The spans of a trace by their names."""
        found: dict[str, list[Sent]] = {}
        for span in self.spans:
            if span.trace == trace:
                found.setdefault(span.name, []).append(span)
        return found

    def _take(self, body: bytes) -> None:
        self.requests += 1
        if self.silent:
            self._over.wait()
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [_sent(span) for span in scope.spans]

    def _handler(collector) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector._take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _sent(span: Any) -> Sent:
    about = {
        one.key.removeprefix("flotilla."): getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes
    }
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Sent(span.name, *ids, span.start_time_unix_nano, span.end_time_unix_nano, about)
