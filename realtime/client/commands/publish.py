"""The publish command: it is sent to Redis at once, and answered when Redis has it."""

import asyncio
from functools import partial
from typing import Any

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.client import command_time
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import Continuation, note_error
from flotilla.realtime.client.commands.requests import data_of, options_of
from flotilla.realtime.conf import ChannelOptions, Hook
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import PublishRequest
from flotilla.store import StoreUnavailable


def publish(client: Client, id: int, request: PublishRequest) -> Continuation | None:
    """Send a publication to Redis; the reply follows when Redis has it, and the next command does not wait for that."""
    options = options_of(client, request.channel)
    if not request.data:
        raise CommandError(ErrorCode.BAD_REQUEST)
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
    await hooks.require(hook, client.identity.user, request.channel, data_of(request.data), client.hook_cache)
    _send_to_redis(client, id, request, options)


def _send_to_redis(client: Client, id: int, request: PublishRequest, options: ChannelOptions) -> None:
    subscription = client.subscriptions.get(request.channel)
    info = client.client_info(subscription.chan_info if subscription else None)
    body = replies.publication_body(bytes(request.data), info)
    if options.has_history:
        replies.require_sendable(body, client.node.config.max_outgoing_bytes)
    answer = client.node.broker.start_publish(request.channel, body, options)
    client.commands.unanswered += 1
    client.node.published(request.channel)
    came = client.node.now()
    if client.commands.due:  # it waited behind others: less time is left than a call of Redis may take
        came = client.commands.due - command_time.COMMAND_WITHIN
        answer = command_time.in_time(answer, client.commands.due)
    answer.add_done_callback(partial(_published, client, id, request.channel, came))


def _published(client: Client, id: int, channel: str, came: float, done: "asyncio.Future[Any]") -> None:
    client.commands.unanswered -= 1
    if done.cancelled():
        return
    client.node.stats.durations["publish"].observe(client.node.now() - came)
    try:
        client.node.broker.published(channel, done.result())
    except Exception as error:  # noqa: BLE001  the client must be answered, whatever failed
        if not isinstance(error, StoreUnavailable):
            client.node.log_failure("publish", error, client)
        failure = CommandError(ErrorCode.INTERNAL)
        note_error(client, "publish", channel, failure)
        client.send(replies.error(id, failure))
    else:
        client.send(replies.reply(id, "publish"))
