"""Calls that wait for their replies, and what is done with them: what a link and its queues have in common."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection

from flotilla.store.errors import StoreRefused, StoreSilent, StoreUnavailable
from flotilla.store.layout import Place
from flotilla.store.resp import Command, pack
from flotilla.store.resp import in_full as whole_script
from flotilla.store.scripts import Script

PING = pack(("PING",))


class Waiting(Protocol):
    """Who waits for a reply; a future is one. Whatever else it is, its methods are called while a read is handled: they
    must be short. It is not answered any more when it is `done`."""

    def done(self) -> bool: ...

    def set_result(self, reply: Any, /) -> None: ...

    def set_exception(self, error: StoreUnavailable, /) -> None: ...


Call = tuple[bytes, Waiting, Script | None]
"""A packed command, who waits for its reply, and the script it runs, if that may be unknown or in doubt."""


def in_full(call: Call) -> Call:
    """A call of a script with all of the script, for a Redis that does not know it."""
    packed, waiting, script = call
    assert script is not None  # the replies to no other command lead here
    return whole_script(packed, script.sha, script.text.encode()), waiting, None


async def exchange(connection: AbstractConnection, commands: Iterable[Command]) -> list[Any]:
    """Send some commands in one write and read their answers. An error among them is raised."""
    packed = [pack(command) for command in commands]
    await connection.send_packed_command(b"".join(packed), check_health=False)
    return [await connection.read_response() for _ in packed]


def given_up(error: Exception) -> StoreUnavailable:
    """The error for calls whose connection was given up because of this one."""
    return StoreUnavailable(f"the connection to Redis was given up: {error or type(error).__name__}")


def fail(waiting: Waiting, error: StoreUnavailable) -> None:
    """Give an error to who waits."""
    if not waiting.done():
        waiting.set_exception(error)
        if isinstance(waiting, asyncio.Future):
            waiting.exception()  # or asyncio would complain where the caller went away: "never retrieved"


class PlaceKept:
    """Waits for the answer whether this process may still call a Redis: `kept` is told None, or why not."""

    def __init__(self, kept: Callable[[StoreUnavailable | None], None], place: Place, sent: float) -> None:
        self._kept = kept
        self._place = place
        self._sent = sent

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any) -> None:
        try:
            self._place.read(self._sent, reply)
        except StoreUnavailable as error:
            self._kept(error)
        else:
            self._kept(None)

    def set_exception(self, error: StoreUnavailable) -> None:
        try:
            self._place.failed(self._sent, error)
        except (StoreRefused, StoreSilent) as told:  # nobody waits twice for a silent Redis
            self._kept(told)
        except StoreUnavailable:  # another connection asks again
            self._kept(None)
        else:
            self._kept(None)
