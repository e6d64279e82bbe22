"""The history command: a page of a channel's publications, of limited size. The HTTP API shares its rules."""

from typing import Any

from flotilla.realtime.access import permissions
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.commands.requests import options_of
from flotilla.realtime.client.subscriptions import check_format
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import HistoryRequest
from flotilla.realtime.protocol.encodings import JSON, Encoding

MAX_PUBLICATIONS = 300  # that a client gets at a time


async def history(client: Client, id: int, request: HistoryRequest) -> bytes:
    """Answer `history` with at most MAX_PUBLICATIONS and `recovery_max_bytes`; the client asks on with `since`."""
    config = client.node.config
    options = options_of(client, request.channel)
    permissions.history(
        options,
        user=client.identity.user,
        subscribed=request.channel in client.subscriptions,
        insecure=config.insecure,
    )
    check_format(client, options)
    check_history(request)
    page = await client.node.broker.history(
        request.channel,
        options,
        limit=MAX_PUBLICATIONS if request.limit < 0 else min(request.limit, MAX_PUBLICATIONS),
        since=request.since.offset if request.since else None,
        reverse=request.reverse,
        max_bytes=config.recovery_max_bytes,
    )
    return client.encoding.reply(
        id, "history", history_result(request, page, options.history_meta_ttl, client.encoding)
    )


def check_history(request: HistoryRequest) -> None:
    """Raise CommandError 107 for what comes before the first publication: there is nothing."""
    if request.reverse and request.since is not None and request.since.offset == 0:
        raise CommandError(ErrorCode.BAD_REQUEST)


def history_result(request: HistoryRequest, page: Page, meta_ttl: float, encoding: Encoding = JSON) -> dict[str, Any]:
    """A page of history as the protocol has it.

    Raises CommandError 112 when the request's `since` is of another epoch. `meta_ttl`: the seconds a stream of the
    channel lives at least.
    """
    since = request.since
    if (
        since is not None
        and since.epoch
        and not continues(StreamPosition(since.epoch, since.offset), page.top.epoch, meta_ttl)
    ):
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
    publications = [encoding.stored(publication.body, publication.offset) for publication in page.publications]
    return {"publications": publications, "epoch": page.top.epoch, "offset": page.top.offset}
