"""A service that is told: a real HTTP server that checks signatures, notes events, and misbehaves on demand."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a secret of thirty-two characters"

Answer = Callable[[BaseHTTPRequestHandler], None]


def answering(status: int, *headers: tuple[str, str]) -> Answer:
    """Answers with a status and no body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


class Service(ThreadingHTTPServer):
    """Notes what it is told before it answers; `events` are those of requests that it has taken."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.answer: Answer = answering(204)
        self.accepts = True
        self.requests: list[tuple[float, list[dict[str, Any]]]] = []
        self.events: list[dict[str, Any]] = []
        self.forged: list[str] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def becomes(self, answer: Answer, accepts: bool) -> None:
        """Answer so from the next request on, and take what is in it or not: no request is treated half so."""
        with self.lock:
            self.answer, self.accepts = answer, accepts

    def types(self, **about: str) -> list[str]:
        """Kinds of events, of a channel or user, without what came again."""
        return [one["type"] for one in self.distinct() if all(one.get(key) == about[key] for key in about)]

    def distinct(self) -> list[dict[str, Any]]:
        """Events, each once, in the order of their first delivery."""
        with self.lock:
            return list({one["id"]: one for one in reversed(self.events)}.values())[::-1]


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = self.headers["Flotilla-Signature"]
        if not _is_signed(signed, body):
            server.forged.append(signed)
        events = json.loads(body)["events"]
        with server.lock:
            answer = server.answer
            server.paths.append(self.path)
            server.requests.append((time.monotonic(), events))
            if server.accepts:
                server.events += events
        self.close_connection = True
        try:
            answer(self)
        except OSError:
            pass  # whoever asked does not listen any more

    def do_GET(self) -> None:
        self.server.paths.append(f"GET {self.path}")
        answering(200)(self)

    def log_message(self, *_: Any) -> None: ...


def _is_signed(header: str, body: bytes) -> bool:
    moment, *signatures = [part.partition("=")[2] for part in header.split(",")]
    wanted = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return abs(time.time() - int(moment)) < 300 and wanted in signatures


@contextmanager
def serving() -> Iterator[Service]:
    """A service on a port of this machine."""
    made = Service()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
