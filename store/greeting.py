"""What a connection of coroutines says to Redis before any call: the scripts, the question whether this process may
call it, and what it knows of the partitions. `flotilla.store.threads` begins its connections in the same way."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from flotilla.store.fitness import require_master
from flotilla.store.layout import Place
from flotilla.store.partitions import Partitions
from flotilla.store.resp import pack
from flotilla.store.scripts import Script
from flotilla.store.waiting import exchange

QUESTIONS = (("INFO", "server"), ("INFO", "replication"))


async def greet(
    connection: AbstractConnection, partitions: Partitions | None, place: Place | None, *, in_cluster: bool
) -> None:
    """Begin a connection. Raises what redis-py does, and StoreUnavailable where this server or process is not to be
    used; in a cluster a replica refuses by itself (MOVED)."""
    await exchange(connection, [("SCRIPT", "LOAD", script.text) for script in Script.registered.values()])
    if partitions is None:
        return
    if place is None or not place.layout.ids:
        run = run_of_master(partitions, await exchange(connection, QUESTIONS), in_cluster=in_cluster)
    if place is not None:
        if not place.layout.ids:
            await asyncio.to_thread(place.layout.enter)
        run = await _placed(connection, partitions, place, in_cluster=in_cluster)
    everything = range(len(partitions.all))
    partitions.answered(run, everything, await exchange(connection, partitions.questions(run, everything)))


def run_of_master(partitions: Partitions, answers: Sequence[Any], *, in_cluster: bool) -> str:
    """The run of Redis, from what it said to QUESTIONS. Raises StoreRefused where this server is not to be used."""
    info, role = answers
    run = partitions.run_of(info)
    if not in_cluster:
        require_master(role)
    return run


async def _placed(connection: AbstractConnection, partitions: Partitions, place: Place, *, in_cluster: bool) -> str:
    """Ask whether this process may call this Redis, and for its run, which is given back: in one round trip."""
    sent, asked = time.monotonic(), (*QUESTIONS, place.command())
    await connection.send_packed_command(b"".join([pack(one) for one in asked]), check_health=False)
    answers = [await connection.read_response() for _ in QUESTIONS]
    run = run_of_master(partitions, answers, in_cluster=in_cluster)
    try:
        answer = await connection.read_response()
    except ResponseError as error:
        if not place.keeps_without(sent, error):
            raise
    else:
        place.read(sent, answer)
    return run
