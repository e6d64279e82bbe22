"""Inspection of channels: a page of those with subscribers here, in the order of their names."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page

WILDCARDS = "*?["

_name = attrgetter("name")


class ActiveChannels(Command, tag="active", kw_only=True):
    """Up to `limit` channels that `text` asks for (`pattern`), with names above `after`; or one (`channel`)."""

    channel: str = ""
    text: str = ""
    after: str = ""
    limit: int = 0


async def carry_out(node: NodeParts, command: ActiveChannels) -> dict[str, Any]:
    """`total`, how many fit; `rows` of channel, subscribers here, and the last publication's time (Unix seconds)."""
    fits = pattern(command.text)

    def wanted(channel: LocalChannel) -> bool:
        return bool(channel.sockets or channel.joining) and fits(channel.name)

    known = node.hub.channels
    asked = [known.get(command.channel)] if command.channel else list(known.values())
    total, found = await page([one for one in asked if one], wanted, _name, command.after, command.limit)
    return {"total": total, "rows": [[one.name, len(one.subscriptions), one.published_at / 1e6] for one in found]}


def pattern(text: str) -> Callable[[str], bool]:
    """Which names a text asks for: as a glob where it has a wildcard, else as their beginning."""
    if is_glob(text):
        return lambda name: fnmatchcase(name, text)
    return lambda name: name.startswith(text)


def is_glob(text: str) -> bool:
    """Whether a text has a wildcard."""
    return any(sign in text for sign in WILDCARDS)
