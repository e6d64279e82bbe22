"""A process's webhooks: which events are kept for which endpoints, and the tasks that deliver them.

Without a webhook in the configuration there is no task, no key and no other word in any script.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Mapping

import msgspec

from flotilla.presence.keys import home_of
from flotilla.presence.outbox import KINDS, OF_USERS, Outbox, Queue, outbox_for
from flotilla.realtime.access.channels import namespace_of
from flotilla.realtime.webhook_settings import Webhook
from flotilla.realtime.webhooks.delivery import Delivery
from flotilla.realtime.webhooks.queue import EndpointQueue
from flotilla.realtime.webhooks.requests import Cause
from flotilla.store import Store, StoreUnavailable, supervised

NO_QUEUES: tuple[Queue, ...] = ()


class Webhooks:
    """What this process keeps and delivers. `outbox`, `watches` and `cause` cost nothing without webhooks."""

    def __init__(self, webhooks: Mapping[str, Webhook], store: Store) -> None:
        who = secrets.token_hex(8)
        self._webhooks = dict(webhooks)
        self._queues: dict[str | None, tuple[Queue, ...]] = {}  # by namespace
        self._of_users = tuple(
            queue for name, webhook in webhooks.items() if (queue := _queue(name, webhook, of_users=True)) is not None
        )
        self.deliveries = [
            Delivery(name, webhook, EndpointQueue(store, name, who)) for name, webhook in webhooks.items()
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to deliver, in the running event loop."""
        self._tasks = [supervised("webhook", delivery.run) for delivery in self.deliveries]

    async def close(self) -> None:
        """End; what waits is delivered by another instance, at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for delivery in self.deliveries:
            with contextlib.suppress(StoreUnavailable):
                await delivery.let_go()

    def outbox(self, scope: str, channel: str | None) -> Outbox | None:
        """Where the events of a scope go; None where nobody wants them. `channel`: None for a user's scope."""
        if not self._webhooks:
            return None
        queues = self._of_users if channel is None else self._of_channel(channel)
        return outbox_for(scope, home_of(scope).placement, queues) if queues else None

    def watches(self, channel: str) -> bool:
        """Whether events of a channel are wanted, so that its subscribers must be counted."""
        return bool(self._webhooks and self._of_channel(channel))

    def cause(self, code: int, reason: str) -> bytes:
        """Why a connection ended, for its event; b"" where nobody wants to know."""
        return msgspec.json.encode(Cause(code, reason)) if self._of_users else b""

    def _of_channel(self, channel: str) -> tuple[Queue, ...]:
        namespace = namespace_of(channel)
        if namespace not in self._queues:
            if len(self._queues) > 1000:  # names of namespaces that do not exist come from clients
                self._queues.clear()
            self._queues[namespace] = tuple(
                queue
                for name, webhook in self._webhooks.items()
                if not webhook.namespaces or (namespace or "") in webhook.namespaces
                if (queue := _queue(name, webhook, of_users=False)) is not None
            )
        return self._queues[namespace]


def _queue(name: str, webhook: Webhook, *, of_users: bool) -> Queue | None:
    """The queue of an endpoint for events of users, or of channels; None when it wants none of them."""
    wanted: Iterable[str] = webhook.events or KINDS
    kinds = "".join(KINDS[event] for event in wanted if (event in OF_USERS) == of_users)
    if not kinds:
        return None
    return Queue(name, kinds, webhook.max_waiting, webhook.max_waiting_bytes, max(1, int(webhook.keep)))
