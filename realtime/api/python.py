"""The Python API, re-exported by `flotilla`: publish and its kin, each with a twin for coroutines (prefix `a`).

Commands to connections are in `control`.

Synchronous functions need no running server: they talk to Redis directly, from a view, a task queue, a shell or a
management command. All raise StoreUnavailable when Redis does not answer, and CommandError for an impossible channel;
but what is published after a commit raises nothing (`docs/PUBLISHING.md`).
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict, Unpack, overload

from flotilla.presence.inspection import amembers, members
from flotilla.presence.scopes import Scope
from flotilla.realtime import traces
from flotilla.realtime.api.prepared import OnError, Prepared, after_commit, at_once
from flotilla.realtime.api.publishing import body_of, broker, encode_data, options_of, prepared
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.losses import losses
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import get_store, placement_of


class Published(NamedTuple):
    """A publication's position; offset 0 and epoch "" in a channel without history."""

    offset: int
    epoch: str


class PublishKeywords(TypedDict, total=False):
    """The keywords of `publish`, but for `on_error`."""

    on_commit: bool
    using: str | None
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
    using: str | None = None,
    on_error: OnError | None = None,
    idempotency_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
) -> Published | None:
    """Publish `data` (anything JSON can hold) into a channel.

    Inside a transaction of the database `using` (the default one), the publication waits for the commit, and is
    dropped on a rollback; then None is returned. With `on_commit=False`, or outside a transaction, it is sent at once.
    A repeat with the same `idempotency_key` within five minutes publishes nothing and returns the first one's position.

    An error of Redis is logged and counted after a commit, and nothing is raised there; a publication that is sent at
    once raises StoreUnavailable. `on_error` says otherwise: with "log" None is returned instead, with "raise" a commit
    raises it as well. Where errors are logged, all publications of a request wait for Redis for `publish_within`
    seconds together.

    Where history is kept, a publication with a `version` (above 0) that is not newer than the newest one's publishes
    nothing and returns the channel's position. Another `version_epoch` begins a new count; "" goes on with the one
    that is known.

    What is wrong with the call is raised at once: TypeError for data that is not JSON, CommandError 102 for an unknown
    namespace, 107 for what is too large to be sent to clients.
    """
    call = _publish(channel, data, tags, idempotency_key, skip_history, version, version_epoch)
    forgive = partial(losses.note, channel)
    return after_commit(on_commit, call.run, using=using, forgive=forgive, on_error=on_error)


@overload
async def apublish(
    channel: str, data: Any, *, on_error: Literal["raise"] | None = None, **options: Unpack[PublishKeywords]
) -> Published: ...


@overload
async def apublish(
    channel: str, data: Any, *, on_error: OnError | None, **options: Unpack[PublishKeywords]
) -> Published | None: ...


async def apublish(
    channel: str,
    data: Any,
    *,
    on_commit: bool = True,
    using: str | None = None,
    on_error: OnError | None = None,
    idempotency_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
) -> Published | None:
    """`publish` for coroutines. They are in no transaction, so it sends at once, whatever `on_commit` and `using` say,
    and raises StoreUnavailable unless `on_error` is "log"; then it returns None."""
    call = _publish(channel, data, tags, idempotency_key, skip_history, version, version_epoch)
    shard = get_store().shard_for(placement_of(channel))
    return await at_once(call.arun, shard, partial(losses.note, channel), on_error)


def broadcast(
    channels: Iterable[str], data: Any, *, on_error: OnError | None = None, **options: Unpack[PublishKeywords]
) -> list[Published | None]:
    """Publish the same data into several channels; options as for `publish`. Checks every channel before the first."""
    return [publish(name, data, on_error=on_error, **options) for name in _all_known(channels)]


@overload
async def abroadcast(
    channels: Iterable[str], data: Any, *, on_error: Literal["raise"] | None = None, **options: Unpack[PublishKeywords]
) -> list[Published]: ...


@overload
async def abroadcast(
    channels: Iterable[str], data: Any, *, on_error: OnError | None, **options: Unpack[PublishKeywords]
) -> list[Published | None]: ...


async def abroadcast(
    channels: Iterable[str], data: Any, *, on_error: OnError | None = None, **options: Unpack[PublishKeywords]
) -> Any:
    """`broadcast` for coroutines."""
    return [await apublish(name, data, on_error=on_error, **options) for name in _all_known(channels)]


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
    call = prepared(
        channel,
        body_of(encode_data(data), tags),
        options,
        idempotency_key=idempotency_key or "",
        skip_history=skip_history,
        version=version,
        version_epoch=version_epoch,
    ).then(_published)
    span = traces.begin("publish", channel=channel)
    return call if span is None else call.within(span)


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
