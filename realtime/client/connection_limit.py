"""How many connections a user may have over all instances, and which is ended when there is one too many.

The script in Redis that registers a connection counts as well, so two connections can never both be the last one that
is allowed. A client is refused for good only if the instances of all the others have just answered: entries of a dead
instance are waited for until they are reaped, or the client is told to try again. Visitors have no user and are not
counted.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from flotilla.presence import Full, Holder
from flotilla.presence.scopes import Scope
from flotilla.realtime.client.client import Client
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode

WAIT = 3.0  # seconds a client waits until one more is allowed: less than a command may take
TRY_EVERY = 0.1  # seconds
ANSWER_WITHIN = 0.5  # seconds: an instance that is well takes milliseconds
OLDEST = "oldest"


class _Since(msgspec.Struct):
    since: float = 0.0


async def register(client: Client, about: bytes) -> None:
    """Enter a connection among its user's, with what others may know `about` it. Raises DisconnectError 3504 when the
    user has too many, CommandError 100 when that may change in a moment."""
    node, user = client.node, client.identity.user
    scope, limit = Scope.user(user), node.config.max_connections_per_user
    if not limit or not user:
        await node.enter(scope, client, about)
        return
    give_up = node.now() + WAIT
    while True:
        try:
            await node.enter(scope, client, about, limit)
            return
        except Full:
            await _make_room(client, scope, limit)
        if node.now() > give_up:
            raise CommandError(ErrorCode.INTERNAL)
        await asyncio.sleep(TRY_EVERY)


async def _make_room(client: Client, scope: str, limit: int) -> None:
    """Have the oldest connections ended, where the policy is so; else raise if all of them are open, or return to try
    again."""
    node, user = client.node, client.identity.user
    holders = await node.presence.holders(scope)
    if len(holders) < limit:
        return
    if node.config.connection_limit_policy == OLDEST:
        code = DisconnectCode.CONNECTION_LIMIT
        for holder in _oldest(holders, len(holders) - limit + 1):
            await node.disconnect_anywhere(user, holder.client, int(code), code.reason)
        return
    there = {holder.incarnation for holder in holders}
    if there <= await node.answering(there, user, ANSWER_WITHIN):
        raise DisconnectError(DisconnectCode.CONNECTION_LIMIT, detail=f"{limit} connections of this user are open")


def _oldest(holders: Sequence[Holder], count: int) -> list[Holder]:
    return sorted(holders, key=lambda holder: msgspec.json.decode(holder.info, type=_Since).since)[:count]
