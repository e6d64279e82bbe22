"""Access looked at again while connections are open: when the cluster is told that something changed, and in rounds.

The rounds are for changes that nobody announces (bulk updates, raw SQL): each connection has its turn once in
`recheck_interval`, never more than `recheck_per_second` of them in a process. A no ends the subscription or the
connection. A fault is no answer: what was asked for is tried again and then ended so that the client comes back and is
asked anew; a round leaves it to the next.
"""

import asyncio
import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Raw

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.sessions import identity_from_key
from flotilla.realtime.client.client import COMMAND_WITHIN, Client
from flotilla.realtime.client.states import State
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, ErrorCode, UnsubscribeCode
from flotilla.realtime.protocol.commands import decoded
from flotilla.store import supervised

logger = logging.getLogger("flotilla.realtime.rechecking")

AT_ONCE = 16  # connections looked at side by side
ATTEMPTS = 3  # of what was asked for
AGAIN_AFTER = 0.2  # seconds until the second attempt, twice that until the third
BEAT = 1.0  # seconds between the slices of a round
IN_TIME = 0.5  # of the interval a round takes, so that nobody waits longer than one interval


class Unknown(Exception):
    """Whether access holds could not be found out."""


class Rechecker:
    """Looks at the access of a node's connections. One that came in while `revision` grew must be looked at, too."""

    def __init__(self, node: NodeParts) -> None:
        self.revision = 0
        self.late = False  # the last round could not be done within the interval
        self._failing = False
        self._node = node
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds."""
        if self._node.config.recheck_interval:
            self._rounds = supervised("recheck", self._go_round)

    async def close(self) -> None:
        """Stop the rounds."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def recheck(self, clients: Iterable[Client], channel: str = "") -> int:
        """Look at connections (and at their subscription to `channel`, or to all); how many things were ended."""
        found = list(clients)
        for client in found:
            client.ask_anew()
        return await self._side_by_side(iter(found), channel, ATTEMPTS)

    async def _side_by_side(self, clients: Iterator[Client], channel: str, attempts: int) -> int:
        async def work() -> int:
            ended = 0
            for client in clients:
                ended += await self._look(client, channel, attempts)
            return ended

        return sum(await asyncio.gather(*(work() for _ in range(AT_ONCE))))

    async def _look(self, client: Client, channel: str, attempts: int) -> int:
        try:
            reason = await _answered(lambda: why_lost(client), attempts)
        except Unknown:
            if attempts > 1:
                client.disconnect(DisconnectCode.INTERNAL)
            return int(attempts > 1)
        if reason:
            client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
            return 1
        found = [client.subscriptions.get(channel)] if channel else list(client.subscriptions.values())
        asked = [subscription for subscription in found if subscription and _is_asked(client, subscription)]
        return sum([await self._look_at(client, subscription, attempts) for subscription in asked])

    async def _look_at(self, client: Client, subscription: Subscription, attempts: int) -> bool:
        code = UnsubscribeCode.ACCESS_ENDED
        try:
            if await _answered(lambda: still_allowed(client, subscription), attempts):
                return False
        except Unknown:
            if attempts == 1:
                return False
            code = UnsubscribeCode.ACCESS_UNKNOWN
        if client.subscriptions.get(subscription.channel) is not subscription:
            return False
        return await client.end_channel(subscription.channel, code, code.reason)

    # Rounds

    async def _go_round(self) -> None:
        config, now = self._node.config, self._node.now
        while True:
            began = now()
            waiting = list(self._node.clients.values())
            beats = max(1, int(config.recheck_interval * IN_TIME / BEAT))
            size = min(max(1, math.ceil(len(waiting) / beats)), max(1, int(config.recheck_per_second * BEAT)))
            for start in range(0, len(waiting), size):
                await self._slice(waiting[start : start + size])
                await asyncio.sleep(BEAT)
            took = now() - began
            self._note_lateness(took > config.recheck_interval)
            await asyncio.sleep(max(0.0, config.recheck_interval * IN_TIME - took))

    def _note_lateness(self, late: bool) -> None:
        if late and not self.late:
            logger.warning("looking at everybody's access takes longer than recheck_interval: raise recheck_per_second")
        self.late = late

    async def _slice(self, clients: list[Client]) -> None:
        """Some connections, whose users are looked up together. Nothing that happens here ends the rounds."""
        found = [client for client in clients if _may_lose(client)]
        if not found:
            return
        try:
            users = await hooks.find_users({client.identity.user for client in found} - {""})
            asked = []
            for client in found:
                user = users.get(client.identity.user, client.identity.user)
                client.ask_anew()
                hooks.remember_user(user, client.hook_cache)
                if not _is_well(client, user):
                    asked.append(client)
            await self._side_by_side(iter(asked), "", 1)
            self._failing = False
        except Exception:  # the database is away, most likely: the next slice may fare better
            if not self._failing:
                logger.exception("access cannot be looked at again for now")
            self._failing = True


def _is_asked(client: Client, subscription: Subscription) -> bool:
    """Whether a hook gave it: nothing else of the rules can change while this process runs. A token's word holds until
    the token ends, the server's until taken back."""
    if subscription.server_side or subscription.by_token:
        return False
    try:
        return options_for(subscription.channel, client.node.config).subscribe_permission is not None
    except CommandError:
        return True


def _may_lose(client: Client) -> bool:
    """Whether there is anything to look at: a user, or a hook to be asked about a visitor."""
    if client.state is not State.CONNECTED:
        return False
    return bool(client.identity.user) or any(_is_asked(client, one) for one in client.subscriptions.values())


def _is_well(client: Client, user: Any) -> bool:
    """Whether the user's row, which is at hand, answers everything."""
    if client.identity.via == "session" or hooks.is_gone(user, client.hook_cache):
        return False
    asked = any(_is_asked(client, one) for one in client.subscriptions.values())
    return bool(getattr(user, "is_active", True)) and not asked


async def _answered(question: Any, attempts: int) -> Any:
    """The answer of a coroutine function, asked up to `attempts` times. Raises Unknown."""
    for attempt in range(1, attempts + 1):
        try:
            async with asyncio.timeout(COMMAND_WITHIN):
                return await question()
        except Exception as error:
            if not isinstance(error, CommandError):
                logger.warning("access could not be looked at: %s", error, exc_info=error)
            if attempt < attempts:
                await asyncio.sleep(AGAIN_AFTER * attempt)
    raise Unknown


async def why_lost(client: Client) -> str:
    """Why a connection may not go on, "" when it may. Raises whatever the session store or the database raises."""
    identity = client.identity
    if identity.via == "session":
        found = await identity_from_key(identity.session_key or "")
        if found is None or found.user != identity.user:
            return "session ended"
        if client.expire_at is not None and found.expire_at is not None and found.expire_at > client.expire_at:
            client.expire_at = found.expire_at
            client.schedule()
        return ""
    if not identity.user:
        return ""
    user = await hooks.user_of(identity.user, client.hook_cache)
    if hooks.is_gone(user, client.hook_cache):
        return "user deleted"
    return "" if getattr(user, "is_active", True) else "user deactivated"


async def still_allowed(client: Client, subscription: Subscription) -> bool:
    """Whether the namespace's rule would give the subscription again. Raises CommandError 100 for a hook's fault."""
    config, user, channel = client.node.config, client.identity.user, subscription.channel
    try:
        hook = permissions.subscribe(
            channel,
            options_for(channel, config),
            user=user,
            personal=config.user_personal_channel,
            insecure=config.insecure,
        )
        asked = decoded(Raw(subscription.asked)) if subscription.asked else None
        await hooks.require(hook, user, channel, asked, client.hook_cache)
    except CommandError as error:
        if error.code == ErrorCode.INTERNAL:
            raise
        return False
    return True
