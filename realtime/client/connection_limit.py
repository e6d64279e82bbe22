"""How many connections a user may have over all instances, and who goes when there is one too many.

The last place is given by the script that enters a connection among the user's, so two can never take it. A client is
turned away for good only if the instances of all the others have just answered: what a dead instance leaves behind is
waited for until it is reaped, or the client is told to try again. Visitors have no user and are not counted.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from flotilla.presence import Full, Holder
from flotilla.presence.scopes import Scope
from flotilla.realtime.client.client import Client
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode

WAIT = 3.0  # seconds a place is waited for: less than a command may take
LOOK_AGAIN = 0.1
ANSWER_WITHIN = 0.5  # seconds: an instance that is well takes milliseconds
OLDEST = "oldest"


class _Since(msgspec.Struct):
    since: float = 0.0


async def take_seat(client: Client, registration: bytes) -> None:
    """Enter a connection among its user's. Raises DisconnectError 3504 when there are too many, CommandError 100 when
    that may change in a moment."""
    node, user = client.node, client.identity.user
    scope, most = Scope.user(user), node.config.max_connections_per_user
    if not most or not user:
        await node.enter(scope, client, registration)
        return
    give_up = node.now() + WAIT
    while True:
        try:
            await node.enter(scope, client, registration, most)
            return
        except Full:
            await _make_room(client, scope, most)
        if node.now() > give_up:
            raise CommandError(ErrorCode.INTERNAL)
        await asyncio.sleep(LOOK_AGAIN)


async def _make_room(client: Client, scope: str, most: int) -> None:
    """See that a place becomes free, or raise because none will."""
    node, user = client.node, client.identity.user
    holders = await node.presence.holders(scope)
    if len(holders) < most:
        return
    if node.config.connection_limit_policy == OLDEST:
        code = DisconnectCode.CONNECTION_LIMIT
        for holder in _oldest(holders, len(holders) - most + 1):
            await node.disconnect_anywhere(user, holder.client, int(code), code.reason)
        return
    there = {holder.incarnation for holder in holders}
    if there <= await node.answering(there, user, ANSWER_WITHIN):
        raise DisconnectError(DisconnectCode.CONNECTION_LIMIT, detail=f"{most} connections of this user are open")


def _oldest(holders: Sequence[Holder], count: int) -> list[Holder]:
    return sorted(holders, key=lambda holder: msgspec.json.decode(holder.info, type=_Since).since)[:count]
