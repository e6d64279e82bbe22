"""A TCP proxy in a thread of its own, which spoils what goes through it: all of it late, or some connections cut."""

import asyncio
import contextlib
import threading
from collections.abc import Callable


class Proxy:
    """Between a port of its own and the address behind it, inside the block.

    `delay`: seconds by which every piece is late, both ways together. `drop_every`: of so many connections one is cut
    when it has said its first words.
    """

    def __init__(self, address: str, delay: float = 0.0, drop_every: int = 0) -> None:
        host, _, port = address.rpartition(":")
        self._behind = (host, int(port))
        self._one_way = delay / 2
        self._drop_every = drop_every
        self._seen = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.address = ""
        self.dropped = 0

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024), self._loop
        ).result()
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._seen += 1
        drops = bool(self._drop_every) and self._seen % self._drop_every == self._drop_every // 2
        if drops:
            await self._cut(reader, writer)
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):
            behind = await asyncio.open_connection(*self._behind)
            try:
                pumps = [_pump(reader, behind[1], self._one_way), _pump(behind[0], writer, self._one_way)]
                await asyncio.gather(*pumps)
            finally:
                behind[1].transport.abort()
        writer.transport.abort()

    async def _cut(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Taken, its first words heard, and gone."""
        self.dropped += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.read(1)
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
    """Pass everything on, each piece by so much later, without making what follows wait for it."""
    loop = asyncio.get_running_loop()
    write: Callable[[bytes], None] = lambda data: None if writer.is_closing() else writer.write(data)  # noqa: E731
    while data := await reader.read(65536):
        if late:
            loop.call_later(late, write, data)
        else:
            writer.write(data)
            await writer.drain()
    await asyncio.sleep(late)
    with contextlib.suppress(OSError):
        writer.write_eof()
