"""Reauthorization: the access of open connections is checked again, when the cluster is told so and in rounds.

Rounds are for changes that nobody announces (bulk updates, raw SQL): each connection has its turn once in
`recheck_interval`, at most `recheck_per_second` of them in a process. Access that is refused ends the subscription or
the connection. A failure is no refusal: a check that was asked for is tried again, and then the subscription or the
connection is ended in such a way that the client comes back and is checked then; a round leaves it to the next round.
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
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_time import COMMAND_WITHIN
from flotilla.realtime.client.states import State
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, ErrorCode, UnsubscribeCode
from flotilla.realtime.protocol.commands import decoded
from flotilla.store import supervised

logger = logging.getLogger("flotilla.realtime.reauthorization")

AT_ONCE = 16  # connections checked side by side
ATTEMPTS = 3  # of a check that was asked for
AGAIN_AFTER = 0.2  # seconds until the second attempt, twice that until the third
SLICE_EVERY = 1.0  # seconds
IN_TIME = 0.5  # the part of the interval that a round takes, so that no connection waits longer than the interval


class Unknown(Exception):
    """It could not be found out whether access is still allowed."""


class Reauthorization:
    """Checks the access of a node's connections again. One that was just connecting while `revision` grew must be
    checked, too."""

    def __init__(self, node: NodeParts) -> None:
        self.revision = 0
        self.late = False  # the last round took longer than the interval
        self._failing = False
        self._node = node
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds."""
        if self._node.config.recheck_interval:
            self._rounds = supervised("reauthorization", self._go_round)

    async def close(self) -> None:
        """Stop the rounds."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def reauthorize(self, clients: Iterable[Client], channel: str = "") -> int:
        """Check connections and their subscriptions, or that to `channel` alone; returns how many of both it ended."""
        found = list(clients)
        for client in found:
            client.renew_hook_cache()
        return await self._side_by_side(iter(found), channel, ATTEMPTS)

    async def _side_by_side(self, clients: Iterator[Client], channel: str, attempts: int) -> int:
        async def work() -> int:
            ended = 0
            for client in clients:
                ended += await self._check(client, channel, attempts)
            return ended

        return sum(await asyncio.gather(*(work() for _ in range(AT_ONCE))))

    async def _check(self, client: Client, channel: str, attempts: int) -> int:
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
        asked = [subscription for subscription in found if subscription and _by_hook(client, subscription)]
        return sum([await self._check_subscription(client, subscription, attempts) for subscription in asked])

    async def _check_subscription(self, client: Client, subscription: Subscription, attempts: int) -> bool:
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
            slices = max(1, int(config.recheck_interval * IN_TIME / SLICE_EVERY))
            size = min(max(1, math.ceil(len(waiting) / slices)), max(1, int(config.recheck_per_second * SLICE_EVERY)))
            for start in range(0, len(waiting), size):
                await self._slice(waiting[start : start + size])
                await asyncio.sleep(SLICE_EVERY)
            took = now() - began
            self._note_lateness(took > config.recheck_interval)
            await asyncio.sleep(max(0.0, config.recheck_interval * IN_TIME - took))

    def _note_lateness(self, late: bool) -> None:
        if late and not self.late:
            logger.warning("checking all connections takes longer than recheck_interval: raise recheck_per_second")
        self.late = late

    async def _slice(self, clients: list[Client]) -> None:
        """Check some connections, whose users are read from the database together. No failure here ends the rounds."""
        found = [client for client in clients if _may_lose(client)]
        if not found:
            return
        try:
            users = await hooks.find_users({client.identity.user for client in found} - {""})
            asked = []
            for client in found:
                user = users.get(client.identity.user, client.identity.user)
                client.renew_hook_cache()
                hooks.remember_user(user, client.hook_cache)
                if not _needs_no_check(client, user):
                    asked.append(client)
            await self._side_by_side(iter(asked), "", 1)
            self._failing = False
        except Exception:  # most likely the database is away; the next slice may succeed
            if not self._failing:
                logger.exception("access cannot be checked for now")
            self._failing = True


def _by_hook(client: Client, subscription: Subscription) -> bool:
    """Whether a hook allowed it: no other rule can change while this process runs. What a token allows holds until the
    token ends, what the server gives until the server takes it back."""
    if subscription.server_side or subscription.by_token:
        return False
    try:
        return options_for(subscription.channel, client.node.config).subscribe_permission is not None
    except CommandError:
        return True


def _may_lose(client: Client) -> bool:
    """Whether there is anything to check: a user, or a hook to be asked about a visitor."""
    if client.state is not State.CONNECTED:
        return False
    return bool(client.identity.user) or any(_by_hook(client, one) for one in client.subscriptions.values())


def _needs_no_check(client: Client, user: Any) -> bool:
    """Whether the user's row, which was just read, answers everything."""
    if client.identity.via == "session" or hooks.is_gone(user, client.hook_cache):
        return False
    asked = any(_by_hook(client, one) for one in client.subscriptions.values())
    return bool(getattr(user, "is_active", True)) and not asked


async def _answered(question: Any, attempts: int) -> Any:
    """What a coroutine function returns, called up to `attempts` times. Raises Unknown when each of them failed."""
    for attempt in range(1, attempts + 1):
        try:
            async with asyncio.timeout(COMMAND_WITHIN):
                return await question()
        except Exception as error:
            if not isinstance(error, CommandError):
                logger.warning("access could not be checked: %s", error, exc_info=error)
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
    """Whether the namespace's rules would allow the subscription now. Raises CommandError 100 when a hook fails."""
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
