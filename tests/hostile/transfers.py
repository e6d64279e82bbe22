"""What is large or long and meant well: it arrives whole, and costs no more than an attack may."""

import asyncio
import time
from hashlib import sha256

from tests.hostile.attacker import Aim, Connection, crowd
from tests.hostile.attacks_bodies import head

RATE = 20_000_000.0  # bytes a second
PIECE = b"0123456789abcdef" * 4096  # 64 KiB, as the application sends them
LINE = b"event %d\n"
ANSWER_WITHIN = 120.0


class Paced:
    """Lets so many bytes a second pass."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bytes = 0

    async def passed(self, size: int) -> None:
        """Wait until that many more may pass."""
        self._bytes += size
        await asyncio.sleep(max(0.0, self._began + self._bytes / RATE - time.monotonic()))


async def whole(one: Connection) -> bytes:
    """Everything up to the end of the connection, for short answers."""
    data = b""
    async with asyncio.timeout(ANSWER_WITHIN):
        while b"\r\n\r\n" not in data or not data.endswith((b"}", b"\r\n\r\n")):
            data += await one.read()
    return data


async def file_upwards(aim: Aim) -> None:
    """A file of a gigabyte upwards at 20 MB/s"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(head("/generic/sink", f"Content-Length: {aim.size}"))
        pace, left, digest = Paced(), aim.size, sha256()
        while left:
            piece = PIECE[:left]
            digest.update(piece)
            await one.send(piece)
            left -= len(piece)
            await pace.passed(len(piece))
        answer = await whole(one)
        if digest.hexdigest().encode() not in answer:
            aim.faults.append(f"it did not arrive whole: {answer[-200:]!r}")

    await once(aim, script)


async def file_upwards_in_chunks(aim: Aim) -> None:
    """The same in chunks"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(head("/generic/sink", "Transfer-Encoding: chunked"))
        pace, left = Paced(), aim.size
        while left:
            piece = PIECE[:left]
            await one.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            left -= len(piece)
            await pace.passed(len(piece))
        await one.send(b"0\r\n\r\n")
        answer = await whole(one)
        if b'"size": %d' % aim.size not in answer:
            aim.faults.append(f"it did not arrive whole: {answer[-200:]!r}")

    await once(aim, script)


async def file_downwards(aim: Aim) -> None:
    """A file of a gigabyte downwards at 20 MB/s"""

    async def script(one: Connection) -> None:
        await one.open(receive_buffer=1 << 18)
        await one.send(head(f"/generic/source?size={aim.size}", "Connection: close", method="GET"))
        first = b""
        while b"\r\n\r\n" not in first:
            first += await one.read()
        got, pace = len(first.partition(b"\r\n\r\n")[2]), Paced()
        while got < aim.size:
            size = len(await one.read(1 << 18))
            got += size
            await pace.passed(size)
        if got != aim.size:
            aim.faults.append(f"{got} of {aim.size} bytes arrived")

    await once(aim, script)


async def stream_of_events(aim: Aim) -> None:
    """An event a second over HTTP for five minutes"""
    count = int(aim.events)

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(head(f"/generic/events?count={count}&pause=1", "Connection: close", method="GET"))
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await one.read()
        missing = [number for number in range(count) if LINE % number not in data]
        if missing or b"the end\n" not in data:
            aim.faults.append(f"{len(missing)} of {count} events are missing")

    await once(aim, script)


async def once(aim: Aim, script: object) -> None:
    """Play it once; a connection that ended before is a fault."""
    done = []

    async def noted(one: Connection) -> None:
        await script(one)  # type: ignore[operator]
        done.append(True)

    aim.seconds = aim.size / RATE + aim.events + ANSWER_WITHIN
    await crowd(aim, 1, noted, again=False)
    if not done:
        aim.faults.append("the connection was ended before it was through")


ALL = ("file_upwards", "file_upwards_in_chunks", "file_downwards", "stream_of_events")
