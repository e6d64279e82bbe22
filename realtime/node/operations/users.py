"""Inspection of users: a page of those with clients here, in the order of their ids."""

from typing import Any

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page


class Users(Command, tag="users", kw_only=True):
    """Up to `limit` users with ids that `text` begins, above `after`; or one (`user`)."""

    user: str | None = None
    text: str = ""
    after: str = ""
    limit: int = 0


async def carry_out(node: NodeParts, command: Users) -> dict[str, Any]:
    """`total`, how many fit; `visitors`, clients without a user; `rows` of user, clients, and the first one's time."""

    def wanted(user: str) -> bool:
        return bool(user) and user.startswith(command.text)

    asked = list(node.users) if command.user is None else [command.user] if command.user in node.users else []
    total, rows = await page(asked, wanted, str, command.after, command.limit)
    known = [(user, node.users.get(user, ())) for user in rows]  # one may have left meanwhile
    return {
        "total": total,
        "visitors": len(node.users.get("", ())),
        "rows": [[user, len(clients), min(one.since for one in clients)] for user, clients in known if clients],
    }
