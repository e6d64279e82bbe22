"""An instance that is fuzzed: case after case, beside a client that is served as before, and it does not grow."""

import random
from collections.abc import Awaitable, Callable

from tests.cluster.support.generic_server import Server
from tests.cluster.support.http_client import memory
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient
from tests.cluster.support.witness import Witness
from tests.fuzzing import cases

GROWTH = 40 * 2**20  # bytes
WARM = 100  # cases after which the process has what it needs


async def play(server: Server, attempt: Callable[[random.Random], Awaitable[str]], counted: str) -> None:
    """Play cases for as long as is wanted. `attempt` says what was wrong with the answers to one, if anything was;
    `counted` is what the server counts of its clients, of which only the witness is left in the end."""
    pid = server.ask("state")["pid"]
    witness = Witness(server.log)
    before = 0
    async with RawClient(server.url) as client:
        await client.connect("8")
        for number, (name, chance) in enumerate(cases(WARM + 1)):
            assert not (fault := await attempt(chance)), f"{fault}: {name}"
            if number == WARM:
                before = memory(pid)
            if number % 20 == 0:
                await client.round_trip()
                client.received.clear()
                witness.check()
        await eventually(lambda: server.ask("census")[counted] == 1, "all others are gone")
    witness.check()
    assert memory(pid) - before < GROWTH
