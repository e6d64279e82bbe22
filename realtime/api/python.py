"""The Python API, re-exported by `flotilla`: publish and its kin, each with a twin for coroutines (prefix `a`).

Commands to connections are in `control`.

Synchronous functions need no running server: they talk to Redis directly, from a view, a task queue, a shell or a
management command. All raise StoreUnavailable when Redis does not answer, and CommandError for an impossible channel.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypedDict, Unpack

from flotilla.presence.inspection import amembers, members
from flotilla.presence.scopes import Scope
from flotilla.realtime.api.prepared import Prepared, after_commit
from flotilla.realtime.api.publishing import body_of, broker, encode_data, known_version, options_of, require_readable
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import get_store


class Published(NamedTuple):
    """A publication's position; offset 0 and epoch "" in a channel without history."""

    offset: int
    epoch: str


class PublishKeywords(TypedDict, total=False):
    """The keywords of `publish`."""

    on_commit: bool
    idempotency_key: str | None
    tags: Mapping[str, str] | None
    skip_history: bool
    version: int
    version_epoch: str


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
    within five minutes publishes nothing and returns the first one's position.

    Where history is kept, a publication with a `version` (above 0) that is not newer than the newest one's publishes
    nothing and returns the channel's position. Another `version_epoch` begins a new count; "" goes on with the one
    that is known.

    Raises CommandError 107, at once, for what is too large to be sent to clients.
    """
    prepared = _publish(channel, data, tags, idempotency_key, skip_history, version, version_epoch)
    return after_commit(on_commit, prepared.run)


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
    return await _publish(channel, data, tags, idempotency_key, skip_history, version, version_epoch).arun()


def broadcast(channels: Iterable[str], data: Any, **options: Unpack[PublishKeywords]) -> list[Published | None]:
    """Publish the same data into several channels; options as for `publish`. Checks every channel before the first."""
    return [publish(name, data, **options) for name in _all_known(channels)]


async def abroadcast(channels: Iterable[str], data: Any, **options: Unpack[PublishKeywords]) -> list[Published]:
    """`broadcast` for coroutines."""
    return [await apublish(name, data, **options) for name in _all_known(channels)]


def presence(channel: str) -> dict[str, dict[str, Any]]:
    """Who is in a channel: client id → `{"user", "client", "conn_info"?, "chan_info"?}`.

    Raises CommandError 108 where presence is off.
    """
    return _presence(channel).run()


async def apresence(channel: str) -> dict[str, dict[str, Any]]:
    """`presence` for coroutines."""
    return await _presence(channel).arun()


def history(
    channel: str, *, limit: int = -1, since: StreamPosition | None = None, reverse: bool = False
) -> HistoryPage:
    """What a channel keeps: `limit` publications (-1: all, 0: the position alone) after `since`, or before it.

    Raises CommandError 108 where history is off, 112 when `since` is of another epoch.
    """
    return _history(channel, limit, since, reverse).run()


async def ahistory(
    channel: str, *, limit: int = -1, since: StreamPosition | None = None, reverse: bool = False
) -> HistoryPage:
    """`history` for coroutines."""
    return await _history(channel, limit, since, reverse).arun()


# Calls, checked


def _publish(
    channel: str,
    data: Any,
    tags: Mapping[str, str] | None,
    idempotency_key: str | None,
    skip_history: bool,
    version: int,
    version_epoch: str,
) -> Prepared[Published]:
    options = options_of(channel)
    body = body_of(encode_data(data), tags)
    require_readable(body, options)
    keywords: calls.PublishKeywords = {
        "idempotency_key": idempotency_key or "",
        "skip_history": skip_history,
        "version": known_version(version),
        "version_epoch": version_epoch,
    }
    where = broker()
    sync = partial(where.publish_sync, channel, body, options, **keywords)
    return Prepared(sync, partial(where.publish, channel, body, options, **keywords)).then(_published)


def _all_known(channels: Iterable[str]) -> list[str]:
    """These channels. Raises CommandError when one is impossible."""
    names = list(channels)
    for name in names:
        options_of(name)
    return names


def _presence(channel: str) -> Prepared[dict[str, dict[str, Any]]]:
    if not options_of(channel).presence:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    store, scope = get_store(), Scope.channel(channel)
    return Prepared(partial(members, store, scope), partial(amembers, store, scope)).then(_decoded)


def _history(channel: str, limit: int, since: StreamPosition | None, reverse: bool) -> Prepared[HistoryPage]:
    options = options_of(channel)
    if not options.has_history:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    keywords: calls.HistoryKeywords = {"limit": limit, "since": since.offset if since else None, "reverse": reverse}
    where = broker()
    sync = partial(where.history_sync, channel, options, **keywords)
    prepared = Prepared(sync, partial(where.history, channel, options, **keywords))
    return prepared.then(partial(_page, since=since, options=options))


# Results


def _published(position: StreamPosition) -> Published:
    return Published(position.offset, position.epoch)


def _page(page: Page, since: StreamPosition | None, options: ChannelOptions) -> HistoryPage:
    if since is not None and since.epoch and not continues(since, page.top.epoch, options.history_meta_ttl):
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
    found = [{"offset": one.offset, **foreign.plain(one.body)} for one in page.publications]
    return HistoryPage(found, page.top.offset, page.top.epoch)


def _decoded(found: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {client: foreign.plain(info) for client, info in found.items()}
