"""The Python API, re-exported by `flotilla`: publish and its kin, each with a twin for coroutines (prefix `a`).

Commands to connections are in `control`.

Synchronous functions need no running server: they talk to Redis directly, from a view, a task queue, a shell or a
management command. All raise StoreUnavailable when Redis does not answer, and CommandError for an impossible channel;
but what is published after a commit raises nothing (`docs/PUBLISHING.md`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict, Unpack, overload

from channels.db import database_sync_to_async
from django.db import transaction

from flotilla.presence.entries import TooMany
from flotilla.presence.inspection import amembers, members
from flotilla.presence.scopes import Scope
from flotilla.realtime import traces
from flotilla.realtime.api.durable import is_durable, store
from flotilla.realtime.api.prepared import OnError, Prepared, after_commit, at_once, require_known
from flotilla.realtime.api.publishing import body_of, broker, encode_data, is_binary, options_of, prepared
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.pages import TooLarge, read_all, read_all_sync
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.losses import losses
from flotilla.realtime.protocol import bodies, foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import get_store, placement_of
from flotilla.tracing import Span


class Published(NamedTuple):
    """A publication's position; offset 0 and epoch "" in a channel without history."""

    offset: int
    epoch: str


class PublishKeywords(TypedDict, total=False):
    """The keywords of `publish`, but for `on_error` and `durable`."""

    on_commit: bool
    using: str | None
    idempotency_key: str | None
    tags: Mapping[str, str] | None
    key: str | None
    skip_history: bool
    version: int
    version_epoch: str
    delta: bool


class HistoryPage(NamedTuple):
    """A piece of history: publications as `{"offset", "data", "info"?, "tags"?, "key"?}`, and the stream's top.
    `data` is bytes where `publication_data_format` is binary."""

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
    key: str | None = None,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
    delta: bool = False,
    durable: bool | None = None,
) -> Published | None:
    """Publish `data` (anything JSON can hold, and bytes where `publication_data_format` is binary) into a channel.

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

    In a namespace that conflates, a subscriber that reads too slowly gets of all publications with one `key` the newest
    alone. Clients do not see the key.

    With `delta`, subscribers that asked for deltas get one if they can: what has changed since the publication before.
    In a namespace with `delta_publish` they do in any case.

    `durable` publications are written to the database `using`, in its transaction or in one of their own, and are sent
    after the commit whatever happens to Redis or to this process: once, in the order of commits. None is returned. Of
    those with one `idempotency_key` a channel has the first, while its row is kept. None: as the namespace says.

    What is wrong with the call is raised at once: TypeError for data that is not JSON or tags that are not texts,
    CommandError 102 for an unknown namespace, 107 for what is too large to be sent to clients, or for a key in a
    namespace that does not conflate, ValueError for a durable one with `on_commit=False`, ImproperlyConfigured where
    the database has no outbox.
    """
    asked = _asked(channel, data, tags, key, idempotency_key, skip_history, version, version_epoch, delta)
    if is_durable(asked.options, durable, on_commit=on_commit):
        require_known(on_error)
        asked.store(using)
        return None
    call = asked.call()
    forgive = partial(losses.note, channel)
    return after_commit(on_commit, call.run, using=using, forgive=forgive, on_error=on_error)


@overload
async def apublish(
    channel: str,
    data: Any,
    *,
    on_error: Literal["raise"] | None = None,
    durable: Literal[False] | None = None,
    **options: Unpack[PublishKeywords],
) -> Published: ...


@overload
async def apublish(
    channel: str,
    data: Any,
    *,
    on_error: OnError | None = None,
    durable: bool | None = None,
    **options: Unpack[PublishKeywords],
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
    key: str | None = None,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
    delta: bool = False,
    durable: bool | None = None,
) -> Published | None:
    """`publish` for coroutines. They are in no transaction, so it sends at once, whatever `on_commit` and `using` say,
    and raises StoreUnavailable unless `on_error` is "log"; then it returns None.

    A `durable` one is written by a thread, to the database `using`, and None is returned."""
    asked = _asked(channel, data, tags, key, idempotency_key, skip_history, version, version_epoch, delta)
    if is_durable(asked.options, durable):
        require_known(on_error)
        await database_sync_to_async(asked.store)(using)
        return None
    call = asked.call()
    shard = get_store().shard_for(placement_of(channel))
    return await at_once(call.arun, shard, partial(losses.note, channel), on_error)


def broadcast(
    channels: Iterable[str],
    data: Any,
    *,
    on_error: OnError | None = None,
    durable: bool | None = None,
    **options: Unpack[PublishKeywords],
) -> list[Published | None]:
    """Publish the same data into several channels; options as for `publish`. Checks every channel before the first.
    Where all of them are durable, they are written in one transaction."""
    names = _all_known(channels)
    with transaction.atomic(options.get("using"), savepoint=False) if _all_durable(names, durable) else nullcontext():
        return [publish(name, data, on_error=on_error, durable=durable, **options) for name in names]


@overload
async def abroadcast(
    channels: Iterable[str],
    data: Any,
    *,
    on_error: Literal["raise"] | None = None,
    durable: Literal[False] | None = None,
    **options: Unpack[PublishKeywords],
) -> list[Published]: ...


@overload
async def abroadcast(
    channels: Iterable[str],
    data: Any,
    *,
    on_error: OnError | None = None,
    durable: bool | None = None,
    **options: Unpack[PublishKeywords],
) -> list[Published | None]: ...


async def abroadcast(
    channels: Iterable[str],
    data: Any,
    *,
    on_error: OnError | None = None,
    durable: bool | None = None,
    **options: Unpack[PublishKeywords],
) -> Any:
    """`broadcast` for coroutines."""
    names = _all_known(channels)
    if _all_durable(names, durable):
        options["on_commit"] = True
        return await database_sync_to_async(broadcast)(names, data, on_error=on_error, durable=durable, **options)
    return [await apublish(name, data, on_error=on_error, durable=durable, **options) for name in names]


def presence(channel: str) -> dict[str, dict[str, Any]]:
    """Who is in a channel: client id → `{"user", "client", "conn_info"?, "chan_info"?}`.

    Raises CommandError 108 where presence is off, 106 where more than 100,000 are there.
    """
    return _presence(channel).run()


async def apresence(channel: str) -> dict[str, dict[str, Any]]:
    """`presence` for coroutines."""
    return await _presence(channel).arun()


def history(
    channel: str, *, limit: int = -1, since: StreamPosition | None = None, reverse: bool = False
) -> HistoryPage:
    """What a channel keeps: `limit` publications (-1: all, 0: the position alone) after `since`, or before it.

    Raises CommandError 108 where history is off, 112 when `since` is of another epoch, 106 for more than 64 MiB.
    """
    return _history(channel, limit, since, reverse).run()


async def ahistory(
    channel: str, *, limit: int = -1, since: StreamPosition | None = None, reverse: bool = False
) -> HistoryPage:
    """`history` for coroutines."""
    return await _history(channel, limit, since, reverse).arun()


# Calls, checked


class _Asked(NamedTuple):
    """A publication that was asked for."""

    channel: str
    body: bytes
    options: ChannelOptions
    keywords: calls.PublishKeywords

    def call(self) -> Prepared[Published]:
        """To be sent by a call of Redis."""
        call = prepared(self.channel, self.body, self.options, **self.keywords).then(_published)
        span = self._span()
        return call if span is None else call.within(span)

    def store(self, using: str | None) -> None:
        """To be sent by way of the outbox of a database."""
        span = self._span()
        with nullcontext() if span is None else span.entered():
            store(self.channel, self.body, self.options, using=using, **self.keywords)

    def _span(self) -> Span | None:
        return traces.begin("publish", channel=self.channel)


def _asked(
    channel: str,
    data: Any,
    tags: Mapping[str, str] | None,
    key: str | None,
    idempotency_key: str | None,
    skip_history: bool,
    version: int,
    version_epoch: str,
    delta: bool,
) -> _Asked:
    options = options_of(channel)
    binary = is_binary(options)
    body = body_of(data if binary and isinstance(data, bytes) else encode_data(data), tags, key or "", binary=binary)
    keywords: calls.PublishKeywords = {
        "idempotency_key": idempotency_key or "",
        "skip_history": skip_history,
        "version": version,
        "version_epoch": version_epoch,
        "delta": delta,
    }
    return _Asked(channel, body, options, keywords)


def _all_durable(channels: Sequence[str], asked: bool | None) -> bool:
    """Whether these, of which there are some, all go through the outbox."""
    return bool(channels) and all(is_durable(options_of(channel), asked) for channel in channels)


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

    def run() -> dict[str, bytes]:
        with _few():
            return members(store, scope)

    async def arun() -> dict[str, bytes]:
        with _few():
            return await amembers(store, scope)

    return Prepared(run, arun).then(_decoded)


@contextmanager
def _few() -> Iterator[None]:
    try:
        yield
    except (TooMany, TooLarge) as error:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED) from error


def _history(channel: str, limit: int, since: StreamPosition | None, reverse: bool) -> Prepared[HistoryPage]:
    options = options_of(channel)
    if not options.has_history:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    after = since.offset if since else None
    words = (broker(), channel, options)

    def run() -> Page:
        with _few():
            return read_all_sync(*words, limit=limit, since=after, reverse=reverse)

    async def arun() -> Page:
        with _few():
            return await read_all(*words, limit=limit, since=after, reverse=reverse)

    return Prepared(run, arun).then(partial(_page, since=since, options=options))


# Results


def _published(position: StreamPosition) -> Published:
    return Published(position.offset, position.epoch)


def _page(page: Page, since: StreamPosition | None, options: ChannelOptions) -> HistoryPage:
    if since is not None and since.epoch and not continues(since, page.top.epoch, options.history_meta_ttl):
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
    found = [{"offset": one.offset, **bodies.plain(one.body)} for one in page.publications]
    return HistoryPage(found, page.top.offset, page.top.epoch)


def _decoded(found: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {client: foreign.plain(info) for client, info in found.items()}
