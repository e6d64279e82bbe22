"""The metrics port of one process: `/metrics` for Prometheus at METRICS_HOST:METRICS_PORT.

It is served by one thread with an event loop of its own (`flotilla.monitoring.scrapes`), so that it answers while the
process's loop is busy. A restarted instance begins while its predecessor still has the port, so opening tries on until
the port is free; a leaving one releases it first of all.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Any

from flotilla.monitoring.scrapes import serve
from flotilla.realtime.server.conf import get_server_config

logger = logging.getLogger("flotilla.monitoring.exporter")

TRY_EVERY = 0.2  # seconds


class Exporter:
    """Serves the process's metrics until it is closed. Port 0 means any free one (see `port`)."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._closing = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self.opened = threading.Event()

    def start(self) -> None:
        """Open the port now, or as soon as it is free."""
        self._thread.start()

    def close(self) -> None:
        """Release the port: when this returns, another process can have it."""
        self._closing.set()
        loop = self._loop
        if loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(self._stop.set)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        listener = self._open()
        if listener is not None:
            with listener:
                asyncio.run(self._serve(listener))

    def _open(self) -> socket.socket | None:
        """The port, or None when the exporter was closed before it was free."""
        complained = False
        while not self._closing.is_set():
            try:
                return listen(self.host, self.port)
            except OSError as error:
                if not complained:
                    logger.warning("no metrics at %s:%s until it is free: %s", self.host, self.port, error)
                    complained = True
                self._closing.wait(TRY_EVERY)
        return None

    async def _serve(self, listener: socket.socket) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self._closing.is_set():  # it was closed before there was anything to stop
            return
        self.port = listener.getsockname()[1]
        self.opened.set()
        await serve(listener, self._stop)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket at the first address that a host's name stands for. Raises OSError."""
    kind = socket.SOCK_STREAM
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, dualstack_ipv6=both)


_exporter: Exporter | None = None


def open_port(**_: Any) -> None:
    """Begin to serve this process's metrics as the settings say; nothing at METRICS_PORT=0."""
    global _exporter
    config = get_server_config()
    if config.metrics_port and _exporter is None:
        _exporter = Exporter(config.metrics_host, config.metrics_port)
        _exporter.start()


def release_port(**_: Any) -> None:
    """Stop serving the metrics, so that a successor can."""
    global _exporter
    exporter, _exporter = _exporter, None
    if exporter is not None:
        exporter.close()
