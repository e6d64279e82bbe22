"""Somebody who opens a page again and again: one that asks the database, through the balancer."""

import asyncio
import contextlib

from tests.chaos.log import Log
from tests.chaos.wire import Place, address

EVERY = 0.5  # seconds
ANSWER_WITHIN = 3.0
PATH = "/admin/login/"
HEADERS = ("Host: anywhere", f"Cookie: sessionid={'x' * 32}", "Connection: close")
PAGE = "\r\n".join((f"GET {PATH} HTTP/1.1", *HEADERS, "", "")).encode()


class Visitor:
    """Use `start` and `stop`. `answered`: when the newest request that got its page was sent, in the log's seconds."""

    def __init__(self, log: Log, place: Place) -> None:
        self._log = log
        self._place = place
        self.answered = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._visit())

    async def stop(self) -> None:
        """Go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _visit(self) -> None:
        while True:
            asked = self._log.now
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(ANSWER_WITHIN):
                    if await self._page() == 200:
                        self.answered = asked
            await asyncio.sleep(EVERY)

    async def _page(self) -> int:
        """The status of the answer."""
        reader, writer = await asyncio.open_connection(*address(self._place))
        try:
            writer.write(PAGE)
            return int((await reader.readuntil(b"\r\n")).split()[1])
        finally:
            writer.transport.abort()
