"""Inspection of users: a page of those with clients here, in the order of their ids, or those that come first."""

from collections.abc import Callable
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page, steady
from flotilla.realtime.node.search import Search, fitting, is_at
from flotilla.realtime.node.selection import condition

ORDERS: dict[str, Callable[[set[Client]], float]] = {
    "-connections": len,
    "since": lambda clients: min((one.since for one in clients), default=0.0),
}


class Users(Search, tag="users", kw_only=True):
    """Up to `limit` users above `after`, with ids that `text` begins and a connection that fits the rest; or the one of
    `user`, or those of `users`. With an `order` (of ORDERS; "-" is for the largest first) those that come first in
    this instance."""

    after: str = ""
    limit: int = 0
    order: str = ""


async def carry_out(node: NodeParts, command: Users) -> dict[str, Any]:
    """`total`, how many fit; `visitors`, clients without a user; `rows` of user, clients, and the first one's time."""
    if not is_at(node, command.at):
        return {"total": 0, "visitors": 0, "rows": []}
    about_clients = bool(command.channel or command.address or command.sdk)
    fits = condition(command, True, fitting(Search(address=command.address, sdk=command.sdk)))

    def wanted(user: str) -> bool:
        if not user or not user.startswith(command.text):
            return False
        return not about_clients or any(fits(client) for client in node.users.get(user, ()))

    value = ORDERS.get(command.order)
    if value is None:
        total, rows = await page(_asked(node, command), wanted, str, command.after, command.limit)
    else:
        backwards = command.order.startswith("-")

        def rank(user: str) -> float:
            return value(node.users.get(user, set()))

        key = steady(rank, str)
        total, rows = await page(list(node.users), wanted, key, None, command.limit, descending=backwards)
    known = [(user, node.users.get(user, ())) for user in rows]  # one may have left meanwhile
    return {
        "total": total,
        "visitors": len(node.users.get("", ())),
        "rows": [[user, len(clients), min(one.since for one in clients)] for user, clients in known if clients],
    }


def _asked(node: NodeParts, command: Users) -> list[str]:
    named = [command.user] if command.user is not None else command.users
    return list(node.users) if named is None else [user for user in dict.fromkeys(named) if user in node.users]
