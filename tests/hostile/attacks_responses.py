"""Attacks by what a client asks for and does not take."""

from tests.hostile.attacker import Aim, Connection, crowd, flood
from tests.hostile.attacks_bodies import head

STATIC = "/static/admin/js/vendor/jquery/jquery.js"  # 285 KB
LITTLE = 4096  # bytes of a receive buffer


def get(path: str, *lines: str) -> bytes:
    return head(path, *lines, method="GET")


async def unread(aim: Aim, data: bytes, connections: int) -> None:
    """Ask, and read nothing of the answers."""

    async def script(one: Connection) -> None:
        await one.open(receive_buffer=LITTLE)
        await one.send(data)
        await one.hold()

    await crowd(aim, connections, script)


async def pipelined_and_unread(aim: Aim) -> None:
    """900 requests for a static file in one go, four times, and nothing is read"""
    await unread(aim, get(STATIC) * 900, 4)


async def pipelined_404_and_unread(aim: Aim) -> None:
    """900 requests for pages that are not there in one go, four times, and nothing is read"""
    await unread(aim, get("/nowhere") * 900, 4)


async def pipelined_heads_and_unread(aim: Aim) -> None:
    """Heads, for ever, and nothing is read"""

    async def script(one: Connection) -> None:
        await one.open(receive_buffer=LITTLE)
        await flood(one, head(STATIC, method="HEAD") * 100, 500_000, read=False)

    await crowd(aim, 4, script)


async def large_and_unread(aim: Aim) -> None:
    """Responses of 400 MB, three at a time, and nothing is read"""
    await unread(aim, get("/generic/source?size=400000000"), 3)


async def large_stream_of_Django_and_unread(aim: Aim) -> None:
    """Streamed responses of Django of 400 MB, three at a time, and nothing is read"""
    await unread(aim, get("/http/large?size=400000000"), 3)


async def large_file_and_unread(aim: Aim) -> None:
    """Files of 64 MB, ten at a time, and nothing is read"""
    await unread(aim, get("/http/largefile"), 10)


async def read_by_the_byte(aim: Aim) -> None:
    """Two hundred large responses of which a byte is read each second"""

    async def script(one: Connection) -> None:
        await one.open(receive_buffer=LITTLE)
        await one.send(get("/generic/source?size=100000000"))
        while aim.goes_on:
            await one.read(1)
            await one.wait(1)

    await crowd(aim, 200, script)


async def left_in_the_middle(aim: Aim) -> None:
    """Large responses that end with a reset in their middle"""

    async def script(one: Connection) -> None:
        await one.open(receive_buffer=LITTLE)
        await one.send(get("/generic/source?size=100000000") * 3)
        await one.read()
        one.reset()

    await crowd(aim, 10, script, pause=0.1)


async def ranges_without_number(aim: Aim) -> None:
    """Requests for 3,000 ranges of a file"""
    ranges = ",".join(f"{number}-" for number in range(3000))
    await crowd(aim, 4, lambda one: _ask(one, get(STATIC, f"Range: bytes={ranges}")), pause=0.05)


async def one_connection_a_request(aim: Aim) -> None:
    """Pages, each over a connection of its own that is reset"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(get("/nowhere"))
        await one.read()
        one.reset()

    await crowd(aim, 2, script, pause=0.02)


async def gone_before_the_answer(aim: Aim) -> None:
    """Requests whose client is gone before the answer"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(get("/generic/never") * 5)
        await one.wait(0.05)
        one.reset()

    await crowd(aim, 20, script, pause=0.1)


async def half_closed_and_unread(aim: Aim) -> None:
    """Large responses to clients that have closed their half and read nothing"""

    async def script(one: Connection) -> None:
        await one.open(receive_buffer=LITTLE)
        await one.send(get("/generic/source?size=100000000") * 3)
        one.end_writing()
        await one.hold()

    await crowd(aim, 20, script)


async def many_slow_pages(aim: Aim) -> None:
    """Five hundred requests at a time for what does not answer"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(get("/generic/never"))
        await one.wait_closed()

    await crowd(aim, 500, script)


async def _ask(one: Connection, data: bytes) -> None:
    await one.open()
    while one.aim.goes_on:
        await one.send(data)
        await one.read_for(0.1)


ALL = (
    *("pipelined_and_unread", "pipelined_404_and_unread", "pipelined_heads_and_unread", "large_and_unread"),
    *("large_stream_of_Django_and_unread", "large_file_and_unread", "read_by_the_byte", "left_in_the_middle"),
    *("ranges_without_number", "one_connection_a_request", "gone_before_the_answer", "half_closed_and_unread"),
    "many_slow_pages",
)
