"""The Python API, re-exported by `realtime`: publish and its kin, each with a twin for coroutines (prefix `a`).

Commands to connections are in `control`.

Synchronous functions need no running server: they talk to Redis directly, from a view, a task queue, a shell or a
management command. All raise StoreUnavailable when Redis does not answer, and CommandError for an impossible channel.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from flotilla.presence.inspection import amembers, members
from flotilla.presence.scopes import Scope
from flotilla.realtime.api.publishing import body_of, broker, encode_data, known_version, options_of, require_readable
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import get_store


class Published(NamedTuple):
    """Where a publication stands; offset 0 and epoch "" in a channel without history."""

    offset: int
    epoch: str


class HistoryPage(NamedTuple):
    """A piece of history: publications as `{"offset", "data", "info"?, "tags"?}`, and the stream's top."""

    publications: list[dict[str, Any]]
    offset: int
    epoch: str


def publish(
    channel: str,
    data: Any,
    *,
    on_commit: bool = True,
    idempotency_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
) -> Published | None:
    """Publish `data` (anything JSON can hold) into a channel.

    Inside a transaction the publication waits for the commit, and is dropped on a rollback; then None is returned.
    With `on_commit=False`, or outside a transaction, it is sent at once. A repeat with the same `idempotency_key`
    within five minutes publishes nothing and returns the first one's place.

    Where history is kept, a publication with a `version` (above 0) that is not newer than the newest one's publishes
    nothing and returns the channel's position. Another `version_epoch` counts from anew; "" goes on with the one known.

    Raises CommandError 107, at once, for what is too large to be sent to clients.
    """
    options, body = _prepared(channel, data, tags)
    send = partial(
        broker().publish_sync,
        channel,
        body,
        options,
        idempotency_key=idempotency_key or "",
        skip_history=skip_history,
        version=known_version(version),
        version_epoch=version_epoch,
    )
    if on_commit and transaction.get_connection().in_atomic_block:
        transaction.on_commit(send)
        return None
    return _published(send())


async def apublish(
    channel: str,
    data: Any,
    *,
    on_commit: bool = True,
    idempotency_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
) -> Published:
    """`publish` for coroutines. They are in no transaction, so it sends at once, whatever `on_commit` says."""
    options, body = _prepared(channel, data, tags)
    position = await broker().publish(
        channel,
        body,
        options,
        idempotency_key=idempotency_key or "",
        skip_history=skip_history,
        version=known_version(version),
        version_epoch=version_epoch,
    )
    return _published(position)


def broadcast(channels: Iterable[str], data: Any, **options: Any) -> list[Published | None]:
    """Publish the same data into several channels; options as for `publish`. Checks every channel before the first."""
    names = list(channels)
    for name in names:
        options_of(name)
    return [publish(name, data, **options) for name in names]


async def abroadcast(channels: Iterable[str], data: Any, **options: Any) -> list[Published]:
    """`broadcast` for coroutines."""
    names = list(channels)
    for name in names:
        options_of(name)
    return [await apublish(name, data, **options) for name in names]


def presence(channel: str) -> dict[str, dict[str, Any]]:
    """Who is in a channel: client id → `{"user", "client", "conn_info"?, "chan_info"?}`.

    Raises CommandError 108 where presence is off.
    """
    _require_presence(channel)
    return _decoded(members(get_store(), Scope.channel(channel)))


async def apresence(channel: str) -> dict[str, dict[str, Any]]:
    """`presence` for coroutines."""
    _require_presence(channel)
    return _decoded(await amembers(get_store(), Scope.channel(channel)))


def history(
    channel: str, *, limit: int = -1, since: StreamPosition | None = None, reverse: bool = False
) -> HistoryPage:
    """What a channel keeps: `limit` publications (-1: all, 0: the position alone) after `since`, or before it.

    Raises CommandError 108 where history is off, 112 when `since` is of another epoch.
    """
    options, wanted = _with_history(channel), _wanted(since, limit, reverse)
    return _page(broker().history_sync(channel, options, **wanted), since, options)


async def ahistory(
    channel: str, *, limit: int = -1, since: StreamPosition | None = None, reverse: bool = False
) -> HistoryPage:
    """`history` for coroutines."""
    options, wanted = _with_history(channel), _wanted(since, limit, reverse)
    return _page(await broker().history(channel, options, **wanted), since, options)


def _prepared(channel: str, data: Any, tags: Mapping[str, str] | None) -> tuple[ChannelOptions, bytes]:
    options = options_of(channel)
    body = body_of(encode_data(data), tags)
    require_readable(body, options)
    return options, body


def _published(position: StreamPosition) -> Published:
    return Published(position.offset, position.epoch)


def _require_presence(channel: str) -> None:
    if not options_of(channel).presence:
        raise CommandError(ErrorCode.NOT_AVAILABLE)


def _with_history(channel: str) -> ChannelOptions:
    options = options_of(channel)
    if not options.has_history:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    return options


def _wanted(since: StreamPosition | None, limit: int, reverse: bool) -> dict[str, Any]:
    return {"limit": limit, "since": since.offset if since else None, "reverse": reverse}


def _page(page: Page, since: StreamPosition | None, options: ChannelOptions) -> HistoryPage:
    if since is not None and since.epoch and not continues(since, page.top.epoch, options.history_meta_ttl):
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
    found = [{"offset": one.offset, **foreign.plain(one.body)} for one in page.publications]
    return HistoryPage(found, page.top.offset, page.top.epoch)


def _decoded(found: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {client: foreign.plain(info) for client, info in found.items()}
