"""The service that a drill's webhook tells: it takes every event, or while it is `away` refuses every request."""

import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BYTES = 1 << 20


class Service:
    """Listens on a free port until it is closed. `webhook` is its entry in the configuration."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.away = threading.Event()
        away = self.away

        class Handler(BaseHTTPRequestHandler):
            """Reads a request and answers it."""

            def do_POST(self) -> None:
                self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_BYTES))
                self.send_response(503 if away.is_set() else 204)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing: the drill tells what matters."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="service", daemon=True)
        self._thread.start()
        self.webhook: dict[str, Any] = {
            "url": f"http://{host}:{self._server.server_address[1]}/events",
            "secret": secrets.token_hex(16),
            "allow_private": True,
            "retry_longest": "5s",  # a drill is short
        }

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
