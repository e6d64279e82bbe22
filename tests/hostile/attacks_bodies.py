"""Attacks by what a client sends behind a request's head."""

import asyncio
import json
import time

from tests.hostile.attacker import Aim, Connection, Gone, crowd

MEGABYTE = 1 << 20
FORM = "application/x-www-form-urlencoded"
PAIRS = b"a&" * (MEGABYTE // 2)
ANSWER_WITHIN = 30.0
BODY_WITHIN = 20.0  # seconds after which a body that does not come must have been given up


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    """A request's head."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", "")).encode()


async def upload(connection: Connection, start: bytes, piece: bytes, pieces: int) -> None:
    """Send a body in pieces as fast as it is taken, and read the answer, which may come before the end."""
    await connection.open()
    try:
        await connection.send(start)
        for _ in range(pieces):
            await connection.send(piece)
            connection.look()
            if not connection.aim.goes_on:
                return
        async with asyncio.timeout(ANSWER_WITHIN):
            await connection.read()
    except (Gone, TimeoutError):
        connection.look()


async def form(aim: Aim, path: str, megabytes: int, connections: int) -> None:
    start = head(path, f"Content-Type: {FORM}", f"Content-Length: {megabytes * MEGABYTE}")
    await crowd(aim, connections, lambda one: upload(one, start, PAIRS, megabytes), pause=0.1)


async def form_of_2_MB_on_no_path(aim: Aim) -> None:
    """Forms of 2 MB of empty fields, to a path that is not there"""
    await form(aim, "/nowhere", 2, 2)


async def form_of_9_MB_to_the_login(aim: Aim) -> None:
    """Forms of 9 MB of empty fields, to a page that reads forms"""
    await form(aim, "/admin/login/", 9, 2)


async def form_of_20_MB(aim: Aim) -> None:
    """Forms of 20 MB of empty fields"""
    await form(aim, "/nowhere", 20, 2)


async def form_of_300_MB(aim: Aim) -> None:
    """A form of 300 MB to the login page"""
    await form(aim, "/admin/login/", 300, 1)


async def multipart_of_many_parts(aim: Aim) -> None:
    """Nine megabytes of empty parts, to a page that reads forms"""
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    piece = part * (MEGABYTE // len(part))
    start = head("/http/body", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {9 * len(piece)}")
    await crowd(aim, 2, lambda one: upload(one, start, piece, 9), pause=0.1)


async def multipart_of_one_header(aim: Aim) -> None:
    """Nine megabytes of one part's header"""
    start = head("/http/body", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {9 * MEGABYTE}")
    first = b"--x\r\nContent-Disposition: form-data; name="

    async def script(one: Connection) -> None:
        await upload(one, start + first, (b"x" * (MEGABYTE - 8)), 9)

    await crowd(aim, 2, script, pause=0.1)


async def multipart_of_files(aim: Aim) -> None:
    """Twenty files of 9 MB at a time, to a page that takes files"""
    first = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    start = head("/http/body", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {9 * MEGABYTE}")

    async def script(one: Connection) -> None:
        await upload(one, start + first, b"x" * (MEGABYTE - 8), 9)

    await crowd(aim, 20, script, pause=0.5)


async def bodies_of_9_MB(aim: Aim) -> None:
    """Thirty bodies of 9 MB at a time, each slowly, to a page that reads them whole"""
    start = head("/http/body", "Content-Type: x/y", f"Content-Length: {9 * MEGABYTE}")

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(start)
        for _ in range(9):
            await one.send(b"x" * MEGABYTE)
            await one.wait(0.3)
        await one.read_for(5)

    await crowd(aim, 30, script, pause=0.5)


async def body_announced_beyond_measure(aim: Aim) -> None:
    """Lengths of 10^15, and as many bytes as are taken"""
    start = head("/nowhere", f"Content-Length: {10**15}")
    await crowd(aim, 4, lambda one: upload(one, start, b"x" * MEGABYTE, 10**6), pause=0.1)


async def chunks_without_end(aim: Aim) -> None:
    """A body of chunks of a megabyte that never ends"""
    start = head("/nowhere", "Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, b"x" * MEGABYTE)
    await crowd(aim, 4, lambda one: upload(one, start, chunk, 10**6), pause=0.1)


async def chunks_of_one_byte(aim: Aim) -> None:
    """Bodies of chunks of one byte, for ever"""
    start = head("/http/body", "Transfer-Encoding: chunked")
    await crowd(aim, 2, lambda one: upload(one, start, b"1\r\nx\r\n" * 10_000, 10**6), pause=0.1)


async def chunks_of_extensions(aim: Aim) -> None:
    """Chunks with extensions of 60 KB around one byte"""
    start = head("/nowhere", "Transfer-Encoding: chunked")
    await crowd(aim, 4, lambda one: upload(one, start, b"1;" + b"x" * 60_000 + b"\r\nx\r\n", 10**6), pause=0.1)


async def chunk_size_without_end(aim: Aim) -> None:
    """A chunk's size of zeros, for ever"""
    start = head("/nowhere", "Transfer-Encoding: chunked")
    await crowd(aim, 4, lambda one: upload(one, start, b"0" * 65536, 10**6), pause=0.1)


async def trailers_without_end(aim: Aim) -> None:
    """Trailers behind the last chunk, for ever"""
    start = head("/nowhere", "Transfer-Encoding: chunked") + b"0\r\n"
    await crowd(aim, 4, lambda one: upload(one, start, b"X: 1\r\n" * 10_000, 10**6), pause=0.1)


async def slow_bodies(aim: Aim) -> None:
    """Three hundred bodies of which a byte comes each second"""
    start = head("/http/body", "Content-Type: x/y", "Content-Length: 1000000")

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(start)
        while aim.goes_on:
            await one.send(b"x")
            one.look()
            await one.wait(1)
            if time.monotonic() - aim.began > BODY_WITHIN and not aim.statuses:
                aim.faults[:] = [f"bodies of a byte a second were waited for longer than {BODY_WITHIN:.0f} s"]

    aim.seconds = max(aim.seconds, BODY_WITHIN + 2)
    await crowd(aim, 300, script)


async def bodies_left_in_the_middle(aim: Aim) -> None:
    """Uploads of a megabyte that end with a reset in their middle"""
    start = head("/http/body", "Content-Type: x/y", "Content-Length: 2000000")

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(start + b"x" * MEGABYTE)
        one.reset()

    await crowd(aim, 10, script, pause=0.2)


async def json_without_a_key(aim: Aim) -> None:
    """Nine megabytes of deep JSON to the API, with a wrong key"""
    start = head("/api/publish", "Content-Type: application/json", f"Content-Length: {9 * MEGABYTE}", "X-API-Key: x")
    await crowd(aim, 4, lambda one: upload(one, start, b"[" * MEGABYTE, 9), pause=0.1)


async def deep_json(aim: Aim) -> None:
    """Nine megabytes of brackets to the API, with its key"""
    more = ("Content-Type: application/json", f"Content-Length: {9 * MEGABYTE}", f"X-API-Key: {aim.key}")
    await crowd(aim, 1, lambda one: upload(one, head("/api/publish", *more), b"[" * MEGABYTE, 9), pause=0.3)


async def wide_json(aim: Aim) -> None:
    """Two megabytes of small numbers and objects to the API, with its key"""
    data = [{"a": number} for number in range(60_000)]
    body = json.dumps({"channel": "open:wide", "data": data}).encode()
    more = ("Content-Type: application/json", f"Content-Length: {len(body)}", f"X-API-Key: {aim.key}")
    await crowd(aim, 1, lambda one: upload(one, head("/api/publish", *more), body, 1), pause=0.5)


ALL = (
    *("form_of_2_MB_on_no_path", "form_of_9_MB_to_the_login", "form_of_20_MB", "form_of_300_MB"),
    *("multipart_of_many_parts", "multipart_of_one_header", "multipart_of_files", "bodies_of_9_MB"),
    *("body_announced_beyond_measure", "chunks_without_end", "chunks_of_one_byte", "chunks_of_extensions"),
    *("chunk_size_without_end", "trailers_without_end", "slow_bodies", "bodies_left_in_the_middle"),
    *("json_without_a_key", "deep_json", "wide_json"),
)
