"""A drain under a server that is not ours: at SIGTERM the clients are sent away first, and then the server has its
signal.

Servers close all WebSockets before they tell the application that it ends, so that nobody could be told where to go.
What a server does at SIGTERM is a function of the process: of `signal`, as for uvicorn, gunicorn's uvicorn workers and
Daphne, or of asyncio's loop, as for granian and hypercorn without workers. It is called when the drain is over, or at
once when the signal comes again. Where there is none of either, nothing is changed.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.drain import drain
from flotilla.realtime.server.lifespan import Clients


class OtherServer:
    """What a drain needs of a server (`flotilla.realtime.server.drain.Server`), as far as there is a way to it."""

    def __init__(self, clients: Clients, stop: Callable[[], Any], owner: Any = None) -> None:
        self._clients = clients
        self._stop = stop
        self._owner = owner
        self._has_signal = False

    def stop_listening(self) -> None:
        """Close the listeners that we know: uvicorn's; those of others stay open."""
        for listener in getattr(self._owner, "servers", ()):
            listener.close()

    async def send_away(self, within: float) -> None:
        """Have the clients told to connect elsewhere."""
        await self._clients.send_away(within)

    def refuse_new(self) -> None:
        """Connections that are not our clients' are the server's."""

    async def quiet(self) -> None:
        """The server waits for its requests itself."""

    def stop(self) -> None:
        """Let the server have its signal, unless it has had it."""
        if not self._has_signal:
            self.give_signal()

    def give_signal(self) -> None:
        """Let the server have its signal now."""
        self._has_signal = True
        self._stop()


class Turn:
    """Our turn at SIGTERM, before the server's own."""

    def __init__(self, server: OtherServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._draining: asyncio.Task[None] | None = None

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Called by the interpreter."""
        self._loop.call_soon_threadsafe(self.come)

    def come(self) -> None:
        """The signal has come: drain, or end at once when it comes again."""
        if self._draining is not None:
            self._server.give_signal()
            return
        config = get_server_config()
        work = drain(self._server, grace=config.drain_grace, deadline=config.drain_deadline, alarm=False)
        self._draining = self._loop.create_task(work)


def drain_at_sigterm(clients: Clients) -> bool:
    """Send the clients away when SIGTERM comes, and let the server have it then; False where it does not let us. Call
    it in the server's event loop, when it has its handlers."""
    if threading.current_thread() is not threading.main_thread():
        return False
    loop, number = asyncio.get_running_loop(), signal.SIGTERM
    of_loop = getattr(loop, "_signal_handlers", {}).get(number)
    of_process = signal.getsignal(number)
    if of_loop is not None:
        loop.add_signal_handler(number, Turn(OtherServer(clients, of_loop._run), loop).come)
        return True
    owner = getattr(of_process, "__self__", None)
    if callable(of_process) and owner is not loop:  # uvloop's is the loop's own, behind which nobody gets
        turn = Turn(OtherServer(clients, lambda: of_process(number, None), owner), loop)
        signal.signal(number, turn.interrupt)
        return True
    return False
