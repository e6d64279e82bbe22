"""A relay in front of Redis that is late with its answers, in their order, on connections that live; it can be cut."""

import asyncio
import contextlib
import random
from collections.abc import Callable


class SlowRedis:
    """Listens on a Unix socket; each piece that Redis says is passed on `delay()` seconds after it came."""

    def __init__(self, target: str, path: str, delay: Callable[[], float] = lambda: 0.0) -> None:
        self.url = f"unix://{path}"
        self.delay = delay
        self._target, self._path = target.removeprefix("unix://"), path
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._cut = False

    async def start(self) -> "SlowRedis":
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        return self

    def cut(self) -> None:
        """Break all connections, and those that come."""
        self._cut = True
        for writer in self._writers:
            writer.close()

    def heal(self) -> None:
        """New connections work again."""
        self._cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)
        self._writers += [writer, up_writer]
        answers: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        for pump in (self._ask(reader, up_writer), self._listen(up_reader, answers), self._tell(answers, writer)):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def _listen(self, reader: asyncio.StreamReader, answers: "asyncio.Queue[tuple[float, bytes]]") -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                answers.put_nowait((asyncio.get_running_loop().time() + self.delay(), data))
        answers.put_nowait((0.0, b""))

    async def _tell(self, answers: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await answers.get()
                if not data:
                    break
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()


def between(least: float, most: float, seed: int = 11) -> Callable[[], float]:
    """Delays that vary, the same at each run."""
    chance = random.Random(seed)
    return lambda: chance.uniform(least, most)
