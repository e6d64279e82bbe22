"""The publish command: it is sent to Redis at once, and answered when Redis has it."""

import asyncio
from functools import partial
from typing import Any

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.client import command_time
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import Continuation, note_error
from flotilla.realtime.client.commands import maps
from flotilla.realtime.client.commands.requests import data_of, options_of
from flotilla.realtime.client.subscriptions import check_format
from flotilla.realtime.conf import ChannelOptions, Hook
from flotilla.realtime.engine.publisher import Publisher
from flotilla.realtime.protocol import bodies, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import PublishRequest
from flotilla.store import StoreUnavailable


def publish(client: Client, id: int, request: PublishRequest) -> Continuation | None:
    """Send a publication to Redis; the reply follows when Redis has it, and the next command does not wait for that."""
    if request.type:
        return maps.publish(client, request, id)
    options = options_of(client, request.channel)
    if options.map:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the channel is a map: publish with a key")
    if not request.data:
        raise CommandError(ErrorCode.BAD_REQUEST)
    check_format(client, options)
    subscribed = request.channel in client.subscriptions
    hook = permissions.publish(
        options, user=client.identity.user, subscribed=subscribed, insecure=client.node.config.insecure
    )
    if hook is not None:
        return partial(_publish_if_allowed, client, id, request, options, hook)
    _send_to_redis(client, id, request, options)
    return None


async def _publish_if_allowed(
    client: Client, id: int, request: PublishRequest, options: ChannelOptions, hook: Hook
) -> None:
    binary = options.publication_data_format == "binary"
    data = bytes(request.data) if binary else data_of(request.data)
    await hooks.require(hook, client.identity.user, request.channel, data, client.hook_cache)
    _send_to_redis(client, id, request, options)


def _send_to_redis(client: Client, id: int, request: PublishRequest, options: ChannelOptions) -> None:
    subscription = client.subscriptions.get(request.channel)
    info = client.client_info(subscription.chan_info if subscription else None)
    body = _body(client, bytes(request.data), info, options)
    if options.has_history:
        replies.require_sendable(body, client.node.config.max_publication_bytes(options))
    client.node.published(request.channel)
    publisher = client.node.broker.publisher(request.channel, options)
    client.node.broker.send(publisher, body, _Sent(client, id, publisher))


def _body(client: Client, data: bytes, info: bytes, options: ChannelOptions) -> bytes:
    if not client.encoding.binary:
        return replies.publication_body(data, info)
    if options.publication_data_format == "binary":
        return bodies.binary(data, info)
    return bodies.as_published(data, info)


class _Sent:
    """A publication that Redis is asked to take: whose it is, until it is answered (`store.link.Waiting`)."""

    __slots__ = ("_came", "_client", "_id", "_publisher", "_timer")

    def __init__(self, client: Client, id: int, publisher: Publisher) -> None:
        self._client: Client | None = client
        self._id = id
        self._publisher = publisher
        self._timer: asyncio.TimerHandle | None = None
        due = client.commands.due
        if due:  # it waited behind others: less time is left than a call of Redis may take
            self._came = due - command_time.COMMAND_WITHIN
            self._timer = asyncio.get_running_loop().call_at(due, self._overdue)
        else:
            self._came = client.node.now()
        client.commands.unanswered += 1

    def done(self) -> bool:
        return self._client is None

    def set_result(self, reply: Any) -> None:
        client = self._answered()
        try:
            client.node.broker.answered(self._publisher, reply)
        except Exception as error:  # noqa: BLE001  the client must be answered, whatever failed
            self._refuse(client, error)
        else:
            client.send(client.encoding.reply(self._id, "publish"))

    def set_exception(self, error: Exception) -> None:
        self._refuse(self._answered(), error)

    def _overdue(self) -> None:
        if not self.done():
            self.set_exception(StoreUnavailable("no reply in the command's time"))

    def _answered(self) -> Client:
        """Whose it is, when the answer is known; whatever comes later is for nobody."""
        client, self._client = self._client, None
        assert client is not None
        if self._timer is not None:
            self._timer.cancel()
        client.commands.unanswered -= 1
        client.node.stats.durations["publish"].observe(client.node.now() - self._came)
        return client

    def _refuse(self, client: Client, error: Exception) -> None:
        if not isinstance(error, StoreUnavailable):
            client.node.log_failure("publish", error, client)
        failure = CommandError(ErrorCode.INTERNAL)
        note_error(client, "publish", self._publisher.channel, failure)
        client.send(client.encoding.error(self._id, failure))
