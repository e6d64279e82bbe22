"""What this instance answers when the cluster looks: its connections, users and channels, a page at a time.

Nothing here changes anything. Rows hold ids, addresses and numbers, no payloads.
"""

from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page
from flotilla.realtime.node.selection import fitting, matching, named

MAX_CHANNELS = 20  # named of one connection
WILD = "*?["
HEXADECIMAL = set("0123456789abcdef")

_id = attrgetter("id")
_name = attrgetter("name")

Lookup = Callable[[Command], Awaitable[Any]]


def lookups(node: NodeParts) -> dict[str, Lookup]:
    """The looks by their names in commands."""

    async def count(command: Command) -> int:
        return len(matching(node, command))

    async def connections(command: Command) -> dict[str, Any]:
        wanted = fitting(command, True, _shows(command.text) if command.text else None)
        total, rows = await page(named(node, command, True), wanted, _id, command.after, command.limit)
        return {"total": total, "rows": [_connection(client, node.instance) for client in rows]}

    async def users(command: Command) -> dict[str, Any]:
        def wanted(user: str) -> bool:
            return bool(user) and user.startswith(command.text)

        asked = list(node.users) if command.user is None else [command.user] if command.user in node.users else []
        total, rows = await page(asked, wanted, str, command.after, command.limit)
        known = [(user, node.users.get(user, ())) for user in rows]  # one may have left meanwhile
        return {
            "total": total,
            "visitors": len(node.users.get("", ())),
            "rows": [[user, len(those), min(one.since for one in those)] for user, those in known if those],
        }

    async def active(command: Command) -> dict[str, Any]:
        fit = pattern(command.text)

        def wanted(channel: LocalChannel) -> bool:
            return bool(channel.sockets or channel.joining) and fit(channel.name)

        known = node.hub.channels
        asked = [known.get(command.channel)] if command.channel else list(known.values())
        total, rows = await page([one for one in asked if one], wanted, _name, command.after, command.limit)
        told = [[one.name, len(one.subscriptions), one.published_at / 1e6] for one in rows]
        return {"total": total, "rows": told}

    async def channels(command: Command) -> dict[str, int]:
        known = node.hub.channels
        return {name: len(channel.subscriptions) for name, channel in known.items() if channel.subscriptions}

    return {"count": count, "connections": connections, "users": users, "active": active, "channels": channels}


def pattern(text: str) -> Callable[[str], bool]:
    """Which names a text asks for: as a glob where it holds one of `*?[`, else as their beginning."""
    if any(sign in text for sign in WILD):
        return lambda name: fnmatchcase(name, text)
    return lambda name: name.startswith(text)


def _shows(text: str) -> Callable[[Client], bool]:
    """A search: the beginning of a user, address or id, or a part of the client's name."""
    lowered = text.lower()
    signs = set(lowered)  # what can be no id or address is not compared with any
    as_client, as_address = signs <= HEXADECIMAL | {"-"}, signs <= HEXADECIMAL | {".", ":"}

    def shows(client: Client) -> bool:
        return (
            client.identity.user.startswith(text)
            or (as_client and client.id.startswith(text))
            or (as_address and client.address.startswith(text))
            or lowered in client.name.lower()
        )

    return shows


def _connection(client: Client, instance: str) -> dict[str, Any]:
    channels = sorted(client.subscriptions)
    return {
        "client": client.id,
        "user": client.identity.user,
        "via": client.identity.via,
        "address": client.address,
        "name": client.name,
        "instance": instance,
        "since": client.since,
        "channels": channels[:MAX_CHANNELS],
        "num_channels": len(channels),
        "waiting": client.socket.unsent,
    }
