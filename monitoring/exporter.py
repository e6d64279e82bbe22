"""The metrics port of one process: `/metrics` for Prometheus at METRICS_HOST:METRICS_PORT.

It is served by a thread, so that it answers while the event loop is busy. A restarted instance begins while its
predecessor still has the port, so opening tries on until the port is free; a leaving one releases it first of all.
"""

import contextlib
import logging
import threading
from socketserver import BaseServer
from typing import Any

from django.conf import settings
from prometheus_client import start_http_server

logger = logging.getLogger("monitoring.exporter")

TRY_EVERY = 0.2  # seconds


class Exporter:
    """Serves the process's metrics until it is closed. Port 0 means any free one (see `port`)."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._closing = threading.Event()
        self._server: BaseServer | None = None
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self.opened = threading.Event()

    def start(self) -> None:
        """Open the port now, or as soon as it is free."""
        self._thread.start()

    def close(self) -> None:
        """Release the port: when this returns, another process can have it."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _run(self) -> None:
        complained = False
        while not self._closing.is_set():
            try:
                self._server, _ = start_http_server(self.port, self.host)
            except OSError as error:
                if not complained:
                    logger.warning("no metrics at %s:%s until it is free: %s", self.host, self.port, error)
                    complained = True
                self._closing.wait(TRY_EVERY)
                continue
            self.port = self._server.server_address[1]
            self.opened.set()
            return


_exporter: Exporter | None = None


def open_port(**_: Any) -> None:
    """Begin to serve this process's metrics as the settings say; nothing at METRICS_PORT=0."""
    global _exporter
    if settings.METRICS_PORT and _exporter is None:
        _exporter = Exporter(settings.METRICS_HOST, settings.METRICS_PORT)
        _exporter.start()


def release_port(**_: Any) -> None:
    """Stop serving the metrics, so that a successor can."""
    global _exporter
    exporter, _exporter = _exporter, None
    if exporter is not None:
        with contextlib.suppress(OSError):
            exporter.close()
