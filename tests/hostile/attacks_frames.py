"""Attacks by frames of an open WebSocket: the cheap ones, many at a time."""

import json

from tests.hostile.attacker import Aim, Connection, crowd, flood
from tests.hostile.attacks_doors import HANDSHAKE
from tests.raw_frames import BINARY, PING, PONG, TEXT, frame

RATE = 1_000_000.0  # bytes a second
READING = 65536  # bytes that a server reads at once


async def pour(
    aim: Aim, unit: bytes, *, first: bytes = b"", path: str = "", burst: bool = False, size: int = 1
) -> None:
    """One connection (or some) sends the same frames at 1 MB/s, or 64 KiB at once and then a pause."""
    handshake = HANDSHAKE.replace(b"/connection/websocket", path.encode()) if path else HANDSHAKE
    connect = b"" if path else frame(TEXT, json.dumps({"id": 1, "connect": {"token": aim.token}}).encode())
    data = unit * max(1, (READING if burst else 10_000) // len(unit))

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(handshake + connect)
        await one.read()
        await one.send(first)
        await flood(one, data, RATE / 5 if burst else RATE / size)

    await crowd(aim, size, script, pause=0.1)


async def pings(aim: Aim) -> None:
    """Pings at 1 MB/s over one connection"""
    await pour(aim, frame(PING))


async def pongs(aim: Aim) -> None:
    """Pongs that nobody asked for, at 1 MB/s"""
    await pour(aim, frame(PONG))


async def pings_with_content(aim: Aim) -> None:
    """Pings of 125 bytes at 1 MB/s"""
    await pour(aim, frame(PING, b"x" * 125))


async def empty_commands(aim: Aim) -> None:
    """`{}`, the protocol's own pong, at 1 MB/s"""
    await pour(aim, frame(TEXT, b"{}"))


async def empty_commands_in_one_message(aim: Aim) -> None:
    """Messages of twenty thousand `{}`"""
    await pour(aim, frame(TEXT, b"\n".join([b"{}"] * 20_000)))


async def empty_lines_in_one_message(aim: Aim) -> None:
    """Messages of nothing but line ends"""
    await pour(aim, frame(TEXT, b"\n" * 60_000))


async def empty_messages(aim: Aim) -> None:
    """Messages without a byte"""
    await pour(aim, frame(TEXT))


async def empty_fragments(aim: Aim) -> None:
    """Fragments without a byte, at 1 MB/s, of one message"""
    await pour(aim, frame(0, final=False), first=frame(TEXT, b"{", final=False))


async def empty_frames_in_one_reading(aim: Aim) -> None:
    """64 KiB of empty fragments at once"""
    await pour(aim, frame(0, final=False), first=frame(TEXT, b"{", final=False), burst=True)


async def pings_in_one_reading(aim: Aim) -> None:
    """64 KiB of pings at once"""
    await pour(aim, frame(PING), burst=True)


async def fragments_of_one_byte(aim: Aim) -> None:
    """A hundred thousand fragments of one byte, of messages that do not end"""
    first = frame(TEXT, b"{", final=False)
    await pour(aim, frame(0, b"x", final=False), first=first, size=5)


async def fragments_that_are_kept(aim: Aim) -> None:
    """Fifty connections with sixty thousand fragments of one byte each, which stay"""
    part = frame(TEXT, b"{", final=False) + frame(0, b"x", final=False) * 60_000

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(HANDSHAKE)
        await one.read()
        for start in range(0, len(part), 20_000):
            await one.send(part[start : start + 20_000])
            await one.wait(0.05)
        await one.wait_closed()

    await crowd(aim, 50, script, pause=0.1)


async def pings_between_fragments(aim: Aim) -> None:
    """Fragments of one byte with a ping between each"""
    first = frame(TEXT, b"{", final=False)
    await pour(aim, frame(0, b"x", final=False) + frame(PING), first=first)


async def wrong_commands(aim: Aim) -> None:
    """Commands that nobody knows, at 1 MB/s"""
    await pour(aim, frame(TEXT, b'{"id":7,"sing":{}}'))


async def commands(aim: Aim) -> None:
    """Commands that are answered with an error, at 1 MB/s"""
    await pour(aim, frame(TEXT, b'{"id":7,"history":{"channel":"nowhere:a"}}'))


async def sends(aim: Aim) -> None:
    """`send` commands, which have no answer, at 1 MB/s"""
    await pour(aim, frame(TEXT, b'{"send":{"data":{}}}'))


async def silent_pings(aim: Aim) -> None:
    """Pings at 1 MB/s over a connection without `connect`"""
    await pour(aim, frame(PING), path="/connection/websocket")


async def small_messages_to_an_application(aim: Aim) -> None:
    """Messages of one byte to an application of Channels, at 1 MB/s"""
    await pour(aim, frame(BINARY, b"x"), path="/generic/echo")


async def pings_to_an_application(aim: Aim) -> None:
    """Pings to an application of Channels, at 1 MB/s"""
    await pour(aim, frame(PING), path="/generic/echo")


async def messages_of_64_KB(aim: Aim) -> None:
    """Messages of 64 KB that are no JSON, at 20 MB/s"""
    data = frame(TEXT, b"x" * 65_000)

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(HANDSHAKE + frame(TEXT, json.dumps({"id": 1, "connect": {"token": aim.token}}).encode()))
        await one.read()
        await flood(one, data, 10_000_000)

    await crowd(aim, 2, script, pause=0.05)


async def deep_messages(aim: Aim) -> None:
    """Commands of 60 KB of brackets"""
    await pour(aim, frame(TEXT, b'{"id":7,"rpc":{"method":"x","data":' + b"[" * 30_000 + b"]" * 30_000 + b"}}"))


ALL = (
    *("pings", "pongs", "pings_with_content", "empty_commands", "empty_commands_in_one_message"),
    *("empty_lines_in_one_message", "empty_messages", "empty_fragments", "empty_frames_in_one_reading"),
    *("pings_in_one_reading", "fragments_of_one_byte", "fragments_that_are_kept", "pings_between_fragments"),
    *("wrong_commands", "commands", "sends", "silent_pings", "small_messages_to_an_application"),
    *("pings_to_an_application", "messages_of_64_KB", "deep_messages"),
)
