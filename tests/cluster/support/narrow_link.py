"""A narrow way between clients and an instance: so many bytes a second come through, and little waits on it.

What a server writes then waits where it does on a slow link: in the server's own buffers, not in those of this machine.
"""

import asyncio
import socket

from tests.cluster.support.door import Door

STEP = 0.02  # seconds
BUFFER = 8192  # bytes the kernel keeps for whoever reads slowly


class Narrow(Door):
    """A door through which the instance's bytes come at `rate` bytes a second; what clients say is not held up."""

    def __init__(self, port: int, rate: float) -> None:
        super().__init__(port)
        self.rate = rate
        self.passed = 0  # bytes that came through

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        link.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self._ports[0]))
        except OSError:
            link.close()
            return None
        return await asyncio.open_connection(sock=link, limit=BUFFER)

    async def _inwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(max(1, int(self.rate * STEP))):
            self.passed += len(data)
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(len(data) / self.rate)
        writer.write_eof()
