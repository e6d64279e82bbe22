"""The Python API's commands to connections, re-exported by `flotilla`: each with a twin for coroutines (prefix `a`).

A command goes to every instance and is answered by them: `Acknowledged(hit, answered, instances)` says how many
connections or subscriptions it hit, and how many of the living instances said so `within` so many seconds. What an
instance does not answer in time it does all the same, as soon as it can. `user` is a Django user or an id, None for
everybody; `client` is one connection's id. All raise StoreUnavailable when Redis does not answer, ValueError for
arguments that cannot be, and CommandError for an impossible channel.
"""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from flotilla.realtime.api.prepared import OnError, after_commit, order
from flotilla.realtime.api.publishing import encode_data, options_of
from flotilla.realtime.api.targets import require_target, user_or_all
from flotilla.realtime.changes import log_untold
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged, Control
from flotilla.realtime.node.operations.disconnect import Disconnect
from flotilla.realtime.node.operations.reauthorize import Reauthorize
from flotilla.realtime.node.operations.refresh import Refresh
from flotilla.realtime.node.operations.subscribe import Subscribe
from flotilla.realtime.node.operations.unsubscribe import Unsubscribe
from flotilla.realtime.protocol.codes import DisconnectCode, UnsubscribeCode
from flotilla.store import get_store

MAX_REASON = 123  # bytes a close frame has room for
OVERRIDES = ("presence", "join_leave", "force_push_join_leave", "force_recovery", "force_positioning")


def disconnect(
    user: Any = None,
    *,
    client: str = "",
    channel: str = "",
    code: int = DisconnectCode.FORCE_DISCONNECT,
    reason: str = "",
    keep: Iterable[str] = (),
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """End connections everywhere: a user's, one, or all that are in a channel; but not the clients in `keep`.

    Codes 3000-3499 and 4000-4499 let the client come back.
    """
    return order(disconnect_command(user, client, channel, code, reason, keep), within).run()


async def adisconnect(
    user: Any = None,
    *,
    client: str = "",
    channel: str = "",
    code: int = DisconnectCode.FORCE_DISCONNECT,
    reason: str = "",
    keep: Iterable[str] = (),
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """`disconnect` for coroutines."""
    return await order(disconnect_command(user, client, channel, code, reason, keep), within).arun()


def unsubscribe(
    user: Any,
    channel: str,
    *,
    client: str = "",
    code: int = UnsubscribeCode.SERVER,
    reason: str = "",
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """End subscriptions to a channel everywhere: a user's, or everybody's with `user` None.

    Codes from 2500 on make the client subscribe again.
    """
    return order(unsubscribe_command(user, channel, client, code, reason), within).run()


async def aunsubscribe(
    user: Any,
    channel: str,
    *,
    client: str = "",
    code: int = UnsubscribeCode.SERVER,
    reason: str = "",
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """`unsubscribe` for coroutines."""
    return await order(unsubscribe_command(user, channel, client, code, reason), within).arun()


def subscribe(
    user: Any,
    channel: str,
    *,
    client: str = "",
    info: Any = None,
    data: Any = None,
    expire_at: float | None = None,
    since: StreamPosition | None = None,
    overrides: Mapping[str, bool] | None = None,
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """Put the open connections of a user (or one of them) into a channel; clients see a server-side subscription.

    `info` is what others see of it, `data` what the client gets along, `expire_at` its end (Unix seconds), `since` a
    position from which what was missed is sent, `overrides` options of the channel for this subscription. Rules of the
    namespace are not asked: the caller decides. It lasts as long as the connection; a later one needs a token's list.
    """
    return order(subscribe_command(user, channel, client, info, data, expire_at, since, overrides), within).run()


async def asubscribe(
    user: Any,
    channel: str,
    *,
    client: str = "",
    info: Any = None,
    data: Any = None,
    expire_at: float | None = None,
    since: StreamPosition | None = None,
    overrides: Mapping[str, bool] | None = None,
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """`subscribe` for coroutines."""
    return await order(subscribe_command(user, channel, client, info, data, expire_at, since, overrides), within).arun()


def refresh(
    user: Any = None,
    *,
    client: str = "",
    expire_at: float | None = None,
    expired: bool = False,
    info: Any = None,
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """Set when the open connections of a user end: at `expire_at` (Unix seconds), never with None, now if `expired`.

    `info`, where given, is what others see of them from their next publication or subscription on.
    """
    return order(refresh_command(user, client, expire_at, expired, info), within).run()


async def arefresh(
    user: Any = None,
    *,
    client: str = "",
    expire_at: float | None = None,
    expired: bool = False,
    info: Any = None,
    within: float = ASK_WITHIN,
) -> Acknowledged:
    """`refresh` for coroutines."""
    return await order(refresh_command(user, client, expire_at, expired, info), within).arun()


def reauthorize(
    user: Any = None,
    *,
    channel: str = "",
    client: str = "",
    on_commit: bool = True,
    using: str | None = None,
    on_error: OnError | None = None,
    within: float = ASK_WITHIN,
) -> Acknowledged | None:
    """Check again who may be where: a user's access, a channel's subscribers, or everybody's; what is no longer
    allowed is ended (2103, 3507). `hit` counts what was ended.

    Inside a transaction (of the database `using`) it waits for the commit, and nobody for its answer; then None is
    returned. An error of Redis is logged there, and raised elsewhere, unless `on_error` is "raise" or "log"; access
    that could not be checked is, in the next round (`recheck_interval`).
    """
    command = reauthorize_command(user, channel, client)
    tell = partial(Control(get_store()).tell_sync, command)
    call = order(command, within).run
    return after_commit(on_commit, call, tell, using=using, forgive=log_untold, on_error=on_error)


async def areauthorize(
    user: Any = None, *, channel: str = "", client: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """`reauthorize` for coroutines, which are in no transaction."""
    return await order(reauthorize_command(user, channel, client), within).arun()


# Commands, checked


def disconnect_command(
    user: Any, client: str, channel: str, code: int, reason: str, keep: Iterable[str] = ()
) -> Disconnect:
    """The command of `disconnect`."""
    require_target(user, client, channel)
    if not 3000 <= code < 5000:
        raise ValueError(f"a disconnect code is 3000 to 4999, not {code}")
    if len(reason.encode()) > MAX_REASON:
        raise ValueError(f"a reason has at most {MAX_REASON} bytes")
    if channel:
        options_of(channel)
    known = code in DisconnectCode._value2member_map_
    words = reason or (DisconnectCode(code).reason if known else "disconnected by the server")
    whom = user_or_all(user)
    return Disconnect(user=whom, client=client, channel=channel, code=int(code), reason=words, keep=list(keep))


def unsubscribe_command(user: Any, channel: str, client: str, code: int, reason: str) -> Unsubscribe:
    """The command of `unsubscribe`."""
    options_of(channel)
    if not 2000 <= code < 3000:
        raise ValueError(f"an unsubscribe code is 2000 to 2999, not {code}")
    words = reason or (UnsubscribeCode(code).reason if code in UnsubscribeCode._value2member_map_ else "unsubscribed")
    return Unsubscribe(user=user_or_all(user), channel=channel, client=client, code=int(code), reason=words)


def subscribe_command(
    user: Any,
    channel: str,
    client: str,
    info: Any,
    data: Any,
    expire_at: float | None,
    since: StreamPosition | None,
    overrides: Mapping[str, bool] | None,
) -> Subscribe:
    """The command of `subscribe`."""
    require_target(user, client)
    options_of(channel)
    _require_finite(expire_at)
    if unknown := set(overrides or ()) - set(OVERRIDES):
        raise ValueError(f"these options cannot be overridden: {', '.join(sorted(unknown))}")
    return Subscribe(
        user=user_or_all(user),
        channel=channel,
        client=client,
        info=None if info is None else encode_data(info),
        data=None if data is None else encode_data(data),
        expire_at=expire_at,
        since=(since.offset, since.epoch) if since is not None else None,
        overrides=dict(overrides or {}),
    )


def refresh_command(user: Any, client: str, expire_at: float | None, expired: bool, info: Any) -> Refresh:
    """The command of `refresh`."""
    require_target(user, client)
    _require_finite(expire_at)
    encoded = None if info is None else encode_data(info)
    return Refresh(user=user_or_all(user), client=client, expire_at=expire_at, expired=expired, info=encoded)


def reauthorize_command(user: Any, channel: str, client: str) -> Reauthorize:
    """The command of `reauthorize`."""
    if channel:
        options_of(channel)
    return Reauthorize(user=user_or_all(user), channel=channel, client=client)


def _require_finite(expire_at: float | None) -> None:
    if expire_at is not None and not math.isfinite(expire_at):
        raise ValueError("an end is a time; None is never")
