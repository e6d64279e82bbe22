"""Inspection of channels: a page of those with subscribers here, in the order of their names, or those that come
first."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page, steady
from flotilla.realtime.node.search import is_at

WILDCARDS = "*?["

_name = attrgetter("name")

ORDERS: dict[str, Callable[[LocalChannel, float], float]] = {
    "-subscribers": lambda channel, now: len(channel.subscriptions),
    "-published_at": lambda channel, now: channel.published_at,
    "-per_second": lambda channel, now: channel.per_second(now),
}


class ActiveChannels(Command, tag="active", kw_only=True):
    """Up to `limit` channels that `text` asks for (`pattern`), with names above `after`; or one (`channel`), those of
    `channels`, or those that a `user` is in. `at` begins the instance's name or incarnation. With an `order` (of
    ORDERS, the largest first) those that come first in this instance."""

    channel: str = ""
    text: str = ""
    after: str = ""
    limit: int = 0
    channels: list[str] | None = None
    user: str | None = None
    at: str = ""
    order: str = ""


async def carry_out(node: NodeParts, command: ActiveChannels) -> dict[str, Any]:
    """`total`, how many fit; `rows` of channel, subscribers here, the last publication's time (Unix seconds), and
    publications a second."""
    if not is_at(node, command.at):
        return {"total": 0, "rows": []}
    fits, now = pattern(command.text), node.now()

    def wanted(channel: LocalChannel) -> bool:
        return bool(channel.followers or channel.joining) and fits(channel.name)

    asked, value = _asked(node, command), ORDERS.get(command.order)
    if value is None:
        total, found = await page(asked, wanted, _name, command.after, command.limit)
    else:
        key = steady(lambda channel: value(channel, now), _name)
        total, found = await page(asked, wanted, key, None, command.limit, descending=True)
    rows = [[one.name, len(one.subscriptions), one.published_at / 1e6, one.per_second(now)] for one in found]
    return {"total": total, "rows": rows}


def _asked(node: NodeParts, command: ActiveChannels) -> list[LocalChannel]:
    known = node.hub.channels
    if command.channel:
        names = [command.channel]
    elif command.channels is not None:
        names = command.channels
    elif command.user is not None:
        names = [name for client in node.users.get(command.user, ()) for name in client.subscriptions]
    else:
        return list(known.values())
    return [known[name] for name in dict.fromkeys(names) if name in known]


def pattern(text: str) -> Callable[[str], bool]:
    """Which names a text asks for: as a glob where it has a wildcard, else as their beginning."""
    if is_glob(text):
        return lambda name: fnmatchcase(name, text)
    return lambda name: name.startswith(text)


def is_glob(text: str) -> bool:
    """Whether a text has a wildcard."""
    return any(sign in text for sign in WILDCARDS)
