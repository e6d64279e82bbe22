"""How the processes of one instance follow each other at its metrics port, so that it is bound without a gap.

A replacement starts while its predecessor serves. From when that one drains, it gives its listening socket to whoever
asks for it, and whoever serves the port asks for the figures of those that drain. Both is asked for at a Unix socket of
each process, in a folder of this user alone; its name stands for the port, the instance and its cluster, so that no
stranger is taken for a successor. What goes over it stays readable for one release.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from flotilla.monitoring.figures import Figures
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.private_files import path_of_processes, private_socket
from flotilla.store.conf import get_store_config

logger = logging.getLogger("flotilla.monitoring.exporter")

PORT = b"port\n"
FIGURES = b"figures "  # and for whom: the address of who reads them
ASKED_WITHIN = 1.0  # seconds in which a question is to be complete
GIVEN_WITHIN = 0.5  # seconds for which a question for the port is open: then it is asked again
LATE = 0.5  # seconds more until who asks does not wait any longer
TAKEN = b"."  # who has the port says so: one that died meanwhile has not
TAKEN_WITHIN = 5.0  # seconds until one that lives has said so
TOLD_WITHIN = 2.0  # seconds a process has for its figures
MAX_FIGURES = 16 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the processes of one instance find each other."""

    path: Path

    @classmethod
    def of_this_process(cls) -> "Meeting":
        """For the settings of this process. Raises OSError where there can be none."""
        server, store = get_server_config(), get_store_config()
        address = (server.metrics_host, str(server.metrics_port))
        return cls(path_of_processes("metrics", *address, store.instance_id, store.prefix, *store.redis_urls))

    @property
    def own(self) -> Path:
        """The socket of this process."""
        return self.path.with_name(f"{self.path.name}.{os.getpid()}")

    def others(self) -> list[Path]:
        """The sockets of the other processes; those of dead ones are removed."""
        found = []
        for path in sorted(self.path.parent.glob(f"{self.path.name}.*")):
            if path == self.own:
                continue
            if _is_alive(path):
                found.append(path)
            else:
                path.unlink(missing_ok=True)
        return found

    def take_port(self) -> socket.socket | None:
        """The listening socket of a process that drains; None where none gives it. Waits a little for one that does."""
        for path in self.others():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(GIVEN_WITHIN + LATE)
                asking.connect(str(path))
                asking.sendall(PORT)
                _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                    asking.sendall(TAKEN)
                    return socket.socket(fileno=descriptor)
        return None

    async def figures(self, reader: str) -> list[Figures]:
        """Those of the processes that drain, for who reads them from this address."""
        told = await asyncio.gather(*(_figures_at(path, reader) for path in self.others()))
        return [figures for figures in told if figures is not None]


def _is_alive(path: Path) -> bool:
    try:
        os.kill(int(path.name.rpartition(".")[2]), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        pass
    return True


async def _figures_at(path: Path, reader: str) -> Figures | None:
    try:
        async with asyncio.timeout(TOLD_WITHIN):
            incoming, outgoing = await asyncio.open_unix_connection(str(path), limit=MAX_FIGURES)
            try:
                outgoing.write(FIGURES + reader.encode() + b"\n")
                told = await incoming.read()
            finally:
                outgoing.close()
        return msgspec.msgpack.decode(told, type=Figures) if told else None
    except (OSError, TimeoutError):
        return None  # it has just ended, or is too busy to say
    except msgspec.DecodeError as error:
        logger.warning("the figures of a process that drains cannot be read: %s", error)
        return None


class Answers:
    """What this process answers at its own socket, from `open` to `close`.

    `port` gives the listening socket as soon as it may go to another process, and lets this one accept nobody any more
    (None: it has none); `given` is told whether it has gone; `figures` gives what is told to who reads at an address,
    None while this process does not drain.
    """

    def __init__(
        self,
        meeting: Meeting,
        *,
        port: Callable[[], Awaitable[socket.socket | None]],
        given: Callable[[socket.socket, bool], Awaitable[None]],
        figures: Callable[[str], Figures | None],
    ) -> None:
        self._meeting = meeting
        self._port = port
        self._given = given
        self._figures = figures
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to answer. Raises OSError."""
        self._meeting.own.unlink(missing_ok=True)  # of a process that had our id before
        self._server = await asyncio.start_unix_server(self._answer, sock=private_socket(self._meeting.own))

    def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()
            self._meeting.own.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                question = await reader.readuntil(b"\n")
            if question == PORT:
                await self._give_port(reader, writer)
            elif question.startswith(FIGURES):
                await self._tell_figures(question.removeprefix(FIGURES).decode().strip(), writer)
        except (OSError, EOFError, TimeoutError, ValueError):
            pass  # whoever asked is gone, or asked for nothing that we know
        finally:
            writer.close()

    async def _give_port(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(GIVEN_WITHIN):
            listener = await self._port()
        if listener is None:
            return
        taken = b""
        try:
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as asking:
                socket.send_fds(asking, [TAKEN], [listener.fileno()])
            async with asyncio.timeout(TAKEN_WITHIN):
                taken = await reader.read(1)
        finally:
            await self._given(listener, taken == TAKEN)

    async def _tell_figures(self, reader: str, writer: asyncio.StreamWriter) -> None:
        figures = self._figures(reader)
        if figures is not None:
            writer.write(msgspec.msgpack.encode(figures))
            async with asyncio.timeout(TOLD_WITHIN):
                await writer.drain()
