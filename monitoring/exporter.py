"""The metrics port of one process: `/metrics` for Prometheus at METRICS_HOST:METRICS_PORT.

It is served by one thread with an event loop of its own (`flotilla.monitoring.scrapes`), so that it answers while the
process's loop is busy. A restarted instance begins while its predecessor still has the port: it gets the port when that
one drains, and serves its figures too (`flotilla.monitoring.succession`). Where there is no successor, a process that
drains goes on serving its own. Opening tries on until the port is free, or is given.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY

from flotilla.monitoring.figures import Figures, figures_of
from flotilla.monitoring.scrapes import Scrapes, nobody
from flotilla.monitoring.succession import Answers, Meeting
from flotilla.realtime.server.conf import get_server_config

logger = logging.getLogger("flotilla.monitoring.exporter")

TRY_EVERY = 0.2  # seconds
LOOK_EVERY = 0.05  # seconds


class Exporter:
    """Serves the process's metrics until it is closed. Port 0 means any free one (see `port`). `meeting` is where it
    finds other processes of its instance; None: it knows of none."""

    def __init__(self, host: str, port: int, meeting: Meeting | None = None) -> None:
        self.host = host
        self.port = port
        self.opened = threading.Event()
        self._meeting = meeting
        self._scrapes = Scrapes(meeting.figures if meeting else nobody)
        self._draining = threading.Event()
        self._closing = threading.Event()
        self._stop: asyncio.Event  # both of the thread's loop, there as soon as that is
        self._may_give: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="metrics", daemon=True)

    def start(self) -> None:
        """Open the port now, or as soon as it is free or given."""
        self._thread.start()

    def drain(self) -> None:
        """The process drains: a successor that asks for it gets the port."""
        self._draining.set()
        self._tell_thread(lambda: self._may_give.set())

    async def last_read(self) -> None:
        """Wait until everybody who reads the metrics regularly has read those of now."""
        since = time.monotonic()
        while self._scrapes.readers.expected(since, time.monotonic()):
            await asyncio.sleep(LOOK_EVERY)

    def close(self) -> None:
        """Release the port: when this returns, another process can have it."""
        self._closing.set()
        self._tell_thread(lambda: self._stop.set())
        if self._thread.ident is not None:
            self._thread.join()

    def _tell_thread(self, what: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(what)

    async def _run(self) -> None:
        self._stop, self._may_give = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()  # last: who sees it may use the events
        if self._draining.is_set():
            self._may_give.set()
        answers = await self._open_answers()
        try:
            listener = await self._open()
            if listener is not None:
                self.port = listener.getsockname()[1]
                await self._scrapes.open(listener)
                self.opened.set()
                await self._until_closing()
        finally:
            if answers is not None:
                answers.close()
            await self._scrapes.end()

    async def _open_answers(self) -> Answers | None:
        if self._meeting is None:
            return None
        answers = Answers(
            self._meeting,
            port=self._port_when_draining,
            given=self._port_given,
            figures=self._figures,
        )
        try:
            await answers.open()
        except OSError as error:  # as where the path is too long for a socket
            logger.warning("no successor can be given the metrics port: %s", error)
            return None
        return answers

    async def _port_when_draining(self) -> socket.socket | None:
        await self._may_give.wait()
        return self._scrapes.leave()

    async def _port_given(self, listener: socket.socket, taken: bool) -> None:
        """Or not: then it is served on."""
        if taken:
            listener.close()
        else:
            await self._scrapes.open(listener)

    def _figures(self, reader: str) -> Figures | None:
        if not self._draining.is_set():
            return None
        figures = figures_of(REGISTRY)
        self._scrapes.readers.note(reader, time.monotonic())
        return figures

    async def _open(self) -> socket.socket | None:
        """The port, or None when the exporter was closed before it could be had."""
        complained = False
        while not self._closing.is_set():
            try:
                return listen(self.host, self.port)
            except OSError as error:
                if self._meeting is not None and (given := self._meeting.take_port()) is not None:
                    return given
                if not complained:
                    self._complain(error)
                    complained = True
                await self._until_closing(TRY_EVERY)
        return None

    def _complain(self, error: OSError) -> None:
        if self._meeting is not None and self._meeting.others():
            logger.info("the metrics port %s:%s is taken over when its process drains", self.host, self.port)
        else:
            logger.warning("no metrics at %s:%s until it is free: %s", self.host, self.port, error)

    async def _until_closing(self, at_most: float | None = None) -> None:
        if not self._closing.is_set():  # else it was closed before there was anything to stop
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(at_most):
                    await self._stop.wait()


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
        try:
            meeting = Meeting.of_this_process()
        except OSError as error:
            logger.warning("no successor can be given the metrics port: %s", error)
            meeting = None
        _exporter = Exporter(config.metrics_host, config.metrics_port, meeting)
        _exporter.start()


def begin_drain(**_: Any) -> None:
    """The process drains: a successor can have the port from now on."""
    if _exporter is not None:
        _exporter.drain()


async def end(**_: Any) -> None:
    """The process has nothing more to do: have its last metrics read, and stop serving them."""
    global _exporter
    exporter, _exporter = _exporter, None
    if exporter is not None:
        try:
            await exporter.last_read()
        finally:
            exporter.close()
