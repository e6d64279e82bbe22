"""A user or an address is blocked from now on: noted in this instance's table, and its clients are ended."""

import asyncio
from collections import Counter
from collections.abc import Collection

from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.blocks.blocklist import ADDRESS, USER, who_of
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.states import State
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import waves
from flotilla.realtime.protocol.codes import DisconnectCode


class Block(Command, tag="block", kw_only=True):
    """Either a user or an address, blocked for so many seconds, which made the `version` of the list of blocks."""

    user: str | None = None
    address: str = ""
    seconds: float = 0.0
    version: int = 0


async def carry_out(node: NodeParts, command: Block) -> int:
    """How many clients were ended, with those that were because this instance had read of the block before."""
    who = who_of(command.user, command.address)
    already = node.blocks.note(who, command.seconds, command.version)
    ended = await end_blocked(node, [who])
    return already + ended[who]


async def end_blocked(node: NodeParts, names: Collection[str]) -> Counter[str]:
    """End the clients of those who are blocked from now on; who is just coming in is refused by the table. Returns how
    many were ended for whom."""
    ended = Counter[str]()
    for wave in waves(_clients_of(node, names)):
        for who, client in wave:
            reason = node.blocks.against(client.identity.user, client.address)
            if reason and client.state is not State.CLOSED:
                client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
                ended[who] += 1
        await asyncio.sleep(0)
    return ended


def _clients_of(node: NodeParts, names: Collection[str]) -> list[tuple[str, Client]]:
    """The clients of those who are named so, with the name."""
    users = [name for name in names if name.startswith(USER)]
    addresses = {name.removeprefix(ADDRESS) for name in names if name.startswith(ADDRESS)}
    found = [(user, client) for user in users for client in node.users.get(user.removeprefix(USER), ())]
    if addresses:
        found += [
            (ADDRESS + address, client) for client in node.clients.values() if (address := _one_of(client, addresses))
        ]
    return found


def _one_of(client: Client, addresses: Collection[str]) -> str:
    """From which of these a client comes, as `flotilla.ratelimit.http.addresses.counted` writes them; "" from none."""
    address = client.address  # IPv4 is written as it is counted: nothing to parse, for most of a hundred thousand
    if address not in addresses and ":" in address:
        address = counted(address)
    return address if address in addresses else ""
