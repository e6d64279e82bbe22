"""A webhook receiver, as Alertmanager's notifications meet one: it notes what arrives and when."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BYTES = 1 << 20


class Receiver:
    """Listens until it is closed. `notified` looks at what came."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.alerts: list[tuple[float, dict[str, Any]]] = []  # (when, alert), in the order they came
        self.paths: dict[str, set[str]] = {}  # the names of alerts that came to a path: each receiver has its own
        noted, paths = self.alerts, self.paths

        class Handler(BaseHTTPRequestHandler):
            """Takes Alertmanager's webhook, version 4."""

            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length") or 0), MAX_BYTES)
                try:
                    alerts = json.loads(self.rfile.read(size))["alerts"]
                except (ValueError, KeyError, TypeError):
                    self.send_error(400)
                    return
                now = time.monotonic()
                noted.extend((now, alert) for alert in alerts)
                paths.setdefault(self.path, set()).update(alert["labels"]["alertname"] for alert in alerts)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing: the drill tells what matters."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()

    def notified(self, status: str, labels: dict[str, str], since: float) -> float | None:
        """When an alert with these labels first arrived with this status after `since` (monotonic); None so far."""
        for when, alert in list(self.alerts):
            if when >= since and alert.get("status") == status and labels.items() <= alert["labels"].items():
                return when
        return None

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
