"""A failover seen before it happens: the sentinel that leads one says which replica it is about to promote.

It says so about 0.1 s before it does, and learns only up to a second later that the replica has followed. Whatever
the old master takes in between is lost. So calls are held back from the first word on, and the replica itself is asked
until it is a master. Where it may not be asked, or does not follow, all is as without this: sentinels tell the outcome.
"""

import asyncio
from typing import Protocol, runtime_checkable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as NoConnection

from flotilla.store.address import Address
from flotilla.store.fitness import is_master
from flotilla.store.guides import connected

EARLY_EVENTS = ("+failover-state-send-slaveof-noone", "+failover-state-wait-promotion")
HELD_BACK_WITHIN = 2.0  # seconds that calls are held back for a master which is about to be replaced
FOLLOWS_WITHIN = 3.0  # seconds that a replica is asked whether it was promoted
ASKED_EVERY = 0.02
ANSWER_WITHIN = 1.0  # seconds an answer may take, and connecting

Host = tuple[str, int]


@runtime_checkable
class Holder(Protocol):
    """Somebody with calls for a master, who can hold them back for a moment."""

    def leaving(self) -> None:
        """The master is about to be replaced: what it takes from now on is lost. Any thread may call it; it must not
        wait, nor raise."""


def replica_named(told: bytes, master: str) -> Host | None:
    """Which replica of a master an early event is about; None where it is about another master.

    It is told as `slave <name> <host> <port> @ <master> <host> <port>`.
    """
    match told.decode(errors="replace").split():
        case [_, _, host, port, "@", name, *_] if name == master and port.isdigit():
            return host, int(port)
    return None


async def promoted(address: Address, replica: Host) -> bool:
    """Wait until a replica says that it is a master; False where it does not in time. Raises what redis-py and the
    system raise where it does not let itself be asked."""
    try:
        async with asyncio.timeout(FOLLOWS_WITHIN):
            while True:
                try:
                    async with connected(replica, address.login, address.tls, ANSWER_WITHIN) as connection:
                        while not await _is_master(connection):
                            await asyncio.sleep(ASKED_EVERY)
                        return True
                except (AuthenticationError, AuthorizationError):  # which redis-py counts among the next ones
                    raise
                except NoConnection:  # it is promoted together with the end of its connections
                    pass
                await asyncio.sleep(ASKED_EVERY)
    except TimeoutError:
        return False


async def demoted(address: Address, server: Host) -> bool:
    """Whether a server that was promoted says that it is a replica: a sentinel that does not know of it may take it
    back. One that does not answer says nothing: the old master would be the wrong one all the same."""
    try:
        async with connected(server, address.login, address.tls, ANSWER_WITHIN) as connection:
            return not await _is_master(connection)
    except (RedisError, OSError):
        return False


async def _is_master(connection: AbstractConnection) -> bool:
    await connection.send_command("INFO", "replication")
    return is_master(await connection.read_response())
