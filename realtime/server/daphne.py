"""Daphne as the platform runs it: `python -m flotilla.realtime.server.daphne --fd N project.asgi:application`.

What is Daphne's: the command line, the endpoints, the reactor. What is ours: the application is started before the
first connection is accepted and told of its end (`lifespan`), HTTP and WebSockets are served by our own protocols
(`factory`, `http`, `connection`), limits come from the configuration, SIGTERM drains (`drain`), and under the
supervisor it says when it is ready and dies with it. `daphne project.asgi:application` works too, without all that.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import MutableMapping
from typing import Any

from flotilla._extras import MissingExtra

try:
    import httptools  # noqa: F401  `head` reads requests with it
    from daphne.cli import CommandLineInterface as DaphneCommandLine  # first: it installs the reactor
    from daphne.server import Server as DaphneServer
    from daphne.server import twisted_loop
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import serverFromString
    from twisted.logger import (
        FilteringLogObserver,
        LogLevel,
        LogLevelFilterPredicate,
        STDLibLogObserver,
        globalLogPublisher,
    )
except ImportError as error:
    raise MissingExtra("Flotilla's server", "daphne", error.name or str(error)) from error

from django.conf import settings

from flotilla.conf import set_for_this_process
from flotilla.realtime.server.budget import UNBOUNDED, Bounds
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.drain import drain
from flotilla.realtime.server.factory import Factory
from flotilla.realtime.server.heap import Trimmer, use_few_arenas
from flotilla.realtime.server.lifespan import Lifespan, StartupFailed, serve_here
from flotilla.realtime.server.listeners import BACKLOG, accept_queued_and_close, adopt, without_delay
from flotilla.realtime.server.open_files import open_as_many_as_allowed
from flotilla.realtime.server.parent_death import PARENT, READY_FD, die_with_parent
from flotilla.realtime.server.signals import boot
from flotilla.realtime.server.streams import accept_fast
from flotilla.realtime.server.tls import use_our_tls
from flotilla.realtime.server.turn import Turn

logger = logging.getLogger("flotilla.realtime.server")

GOING_AWAY = 1001
GC_THRESHOLD = (20_000, 5, 5)  # docs/decisions/0007
LOOK_EVERY = 0.05  # seconds
MIN_SHUTDOWN = 1.0  # seconds the application has for its shutdown, though the drain's deadline has passed
LOOK_AFTER_OPENINGS = 1.0  # seconds
MAX_MESSAGE = 2**20  # bytes, Daphne's default


class Server(DaphneServer):  # type: ignore[misc]
    """One process's server."""

    def __init__(self, application: Any, endpoints: list[str], **options: Any) -> None:
        options |= {
            "signal_handlers": False,
            "root_path": get_server_config().root_path or options.get("root_path", ""),
            "ready_callable": self._before_first_connection,
        }
        super().__init__(application, endpoints, **options)
        self.endpoints: list[str] = []  # Daphne would listen with its own factory
        self._listen_on = endpoints
        self.bounds = Bounds(_max_message(self), UNBOUNDED)
        self.turn = Turn()
        self.ports: list[Any] = []
        self.websockets: set[Connection] = set()
        self._draining = False
        self._trimmer = Trimmer()
        self._ends = 0.0  # loop time: the deadline of the drain
        self._lifespan = Lifespan(application)
        serve_here()
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Start the application, serve until stopped, and tell the application of the end."""
        try:
            twisted_loop.run_until_complete(self._boot())
        except StartupFailed as error:
            sys.exit(f"the application could not start: {error}")
        _settle_garbage_collector()
        super().run()
        twisted_loop.run_until_complete(self._lifespan.shutdown(max(MIN_SHUTDOWN, self._ends - twisted_loop.time())))

    async def _boot(self) -> None:
        await boot()
        await self._lifespan.startup()

    def listen_success(self, port: Any) -> None:
        """An endpoint is open."""
        self.ports.append(port)
        without_delay(port.socket)
        use_our_tls(port)
        accept_fast(port)
        super().listen_success(port)

    def _listen(self) -> None:
        self.http_factory = self.factory = Factory(self)
        for endpoint in self._listen_on:
            if endpoint.startswith("fd:"):
                descriptor = int(endpoint.removeprefix("fd:fileno="))
                self.ports.append(adopt(reactor, descriptor, self.factory))
                accept_fast(self.ports[-1])
                continue
            backlog = f":backlog={BACKLOG}" if endpoint.startswith(("tcp:", "ssl:")) else ""
            opening = serverFromString(reactor, endpoint + backlog).listen(self.factory)
            opening.addCallbacks(self.listen_success, self.listen_error)
        self._look_after_openings()

    def _look_after_openings(self) -> None:
        self.factory.give_up_silent()
        self.factory.look_after_busy(self.application_close_timeout)
        self._trimmer.look()
        twisted_loop.call_later(LOOK_AFTER_OPENINGS, self._look_after_openings)

    def _before_first_connection(self) -> None:
        """Everything is set up, and nothing was accepted yet."""
        self._listen()
        errors = LogLevelFilterPredicate(LogLevel.critical)
        globalLogPublisher.addObserver(FilteringLogObserver(STDLibLogObserver("twisted"), [errors]))
        twisted_loop.add_signal_handler(signal.SIGTERM, self._on_signal)
        if PARENT not in os.environ:
            twisted_loop.add_signal_handler(signal.SIGINT, self._on_signal)
        if READY_FD in os.environ:
            self._background(self._tell_when_ready(int(os.environ[READY_FD])))

    async def _tell_when_ready(self, descriptor: int) -> None:
        """Tell the supervisor the name under which the application takes clients, once it does."""
        clients, name = self._lifespan.clients, ""
        while clients is not None and not (name := clients.ready()):
            await asyncio.sleep(LOOK_EVERY)
        os.write(descriptor, f"{name}\n".encode())
        os.close(descriptor)

    def _on_signal(self) -> None:
        if self._draining:
            return
        self._draining = True
        config = get_server_config()
        self._ends = twisted_loop.time() + config.drain_deadline
        self._background(drain(self, grace=config.drain_grace, deadline=config.drain_deadline))

    def _background(self, work: Any) -> None:
        task = twisted_loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # WebSockets (realtime.server.connection)

    def websocket_opened(self, connection: Connection) -> None:
        """A handshake was read."""
        self.websockets.add(connection)

    def websocket_closed(self, connection: Connection) -> None:
        """Its transport is gone."""
        self.websockets.discard(connection)

    def kill_all_applications(self) -> Any:
        """End every application that runs, and wait for that."""
        killed = list(filter(None, [connection.kill() for connection in self.websockets]))
        for request in list(self.factory.requests):
            if request.task is not None:
                request.end()
                request.task.cancel()
                killed.append(request.task)
        return Deferred.fromFuture(asyncio.gather(*killed, return_exceptions=True))

    def application_checker(self) -> None:
        """Daphne's: its table of connections stays empty, ours are looked after by the factory."""

    def timeout_checker(self) -> None:
        """As above."""

    @property
    def is_leaving(self) -> bool:
        """Whether clients should connect elsewhere from now on."""
        return self._draining

    # What a drain needs

    def stop_listening(self) -> None:
        """Accept what is queued, and close the listeners."""
        for port in self.ports:
            accept_queued_and_close(port)

    def refuse_new(self) -> None:
        """Refuse what still comes over connections that are open, and end the WebSockets that are still there."""
        self.application = _refuse
        for connection in self.websockets:
            connection.close(GOING_AWAY, "shutdown")

    async def send_away(self, within: float) -> None:
        """Have the application send its clients away, within so many seconds."""
        await self._lifespan.send_away(within)

    async def quiet(self) -> None:
        """Wait until every WebSocket and request has ended."""
        while self.websockets or any(connection.owes for connection in self.factory.busy):
            await asyncio.sleep(LOOK_EVERY)


def _max_message(server: DaphneServer) -> int:
    """Bytes in a message to an application that has no bounds of its own: as the command line, the setting of Daphne's
    runserver or Daphne's default has it. A frame is never larger than its message here."""
    given: int = server.websocket_max_message_size
    if given == MAX_MESSAGE:
        given = getattr(settings, "DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE", given)
    return given or sys.maxsize


def _settle_garbage_collector() -> None:
    """Collections cost by the objects there are, and connections are long-lived: look at what is there since the start
    never again, and at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


async def _refuse(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    else:
        headers = [(b"content-length", b"0"), (b"connection", b"close"), (b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body"})


class CommandLine(DaphneCommandLine):  # type: ignore[misc]
    """Daphne's command line with our server; its options for limits and timeouts have no effect here."""

    server_class = Server

    def __init__(self) -> None:
        super().__init__()
        self.parser.set_defaults(verbosity=0, server_name="")

    def run(self, args: list[str]) -> None:
        """Serve. The root path is for the settings too, which are read when the application is imported."""
        if root_path := self.parser.parse_args(args).root_path:
            os.environ["ROOT_PATH"] = root_path
            set_for_this_process(root_path=root_path)
        super().run(args)


def main() -> None:
    """Serve until told to stop."""
    if PARENT in os.environ:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a terminal sends them to everyone; the supervisor decides
        die_with_parent(signal.SIGTERM, int(os.environ[PARENT]))
        set_for_this_process(instance_id=os.environ["INSTANCE_ID"], metrics_port=int(os.environ["METRICS_PORT"]))
    open_as_many_as_allowed()
    use_few_arenas()
    CommandLine().run(sys.argv[1:])


if __name__ == "__main__":
    main()
