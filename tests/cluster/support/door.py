"""One address before several instances, so that a test decides where a client comes back to."""

import asyncio
import contextlib


class Door:
    """One address before several ports, as a balancer is: a client that was cut off comes back to whoever is open.

    New connections go to the ports in turn; a port that refuses is passed over. `only` sends them all to one.
    """

    def __init__(self, *ports: int) -> None:
        self._ports = list(ports)
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Door":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pairs, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The one port."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    def only(self, *ports: int) -> None:
        """Where new connections go from now on."""
        self._ports = list(ports)

    def cut(self) -> None:
        """Cut every connection off, without a word to either side."""
        for pair in self._pairs:
            pair.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._pairs.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await self._connect()
        if behind is None:
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, behind[1]))
                group.create_task(self._inwards(behind[0], writer))
        except* OSError:
            pass
        finally:
            behind[1].transport.abort()

    async def _inwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the instance says."""
        await _copy(reader, writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(len(self._ports)):
            self._turn += 1
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self._ports[self._turn % len(self._ports)])
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
