"""A user or an address is blocked from now on: noted in this instance's table, and its clients are ended."""

import asyncio
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
    """How many clients were ended."""
    who = who_of(command.user, command.address)
    node.blocks.note(who, command.seconds, command.version)
    return await end_blocked(node, [who])


async def end_blocked(node: NodeParts, names: Collection[str]) -> int:
    """End the clients of those who are blocked from now on; who is just coming in is refused by the table."""
    ended = 0
    for wave in waves(_clients_of(node, names)):
        for client in wave:
            reason = node.blocks.against(client.identity.user, client.address)
            if reason and client.state is not State.CLOSED:
                client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
                ended += 1
        await asyncio.sleep(0)
    return ended


def _clients_of(node: NodeParts, names: Collection[str]) -> list[Client]:
    users = [name.removeprefix(USER) for name in names if name.startswith(USER)]
    addresses = {name.removeprefix(ADDRESS) for name in names if name.startswith(ADDRESS)}
    found = [client for user in users for client in node.users.get(user, ())]
    if addresses:
        found += [client for client in node.clients.values() if _is_at(client, addresses)]
    return found


def _is_at(client: Client, addresses: Collection[str]) -> bool:
    """Whether a client comes from one of these, as `flotilla.ratelimit.http.addresses.counted` writes them."""
    address = client.address  # IPv4 is written as it is counted: nothing to parse, for most of a hundred thousand
    return address in addresses or (":" in address and counted(address) in addresses)
