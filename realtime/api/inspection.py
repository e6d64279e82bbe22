"""Inspection of the whole cluster, a page at a time: connections, users, channels, instances, blocks. The admin shows
it.

Every instance gives its own page after the cursor; the pages are merged and cut, so nothing holds more than `limit`
rows of each instance, however many there are. All raise StoreUnavailable.
"""

import heapq
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import msgspec
from msgspec import structs

from flotilla.presence.inspection import Member, some_members, stats
from flotilla.presence.leases import alive_sync, left_sync
from flotilla.presence.scopes import Scope
from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.api.publishing import options_of
from flotilla.realtime.api.targets import user_or_all
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.blocks.blocklist import ADDRESS, USER, Block
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.inspection import StreamState, stream_states
from flotilla.realtime.node.control import ASK_WITHIN, Command, Control
from flotilla.realtime.node.operations.active_channels import ORDERS as CHANNEL_ORDERS
from flotilla.realtime.node.operations.active_channels import ActiveChannels, is_glob
from flotilla.realtime.node.operations.connection import Connection
from flotilla.realtime.node.operations.connections import Connections
from flotilla.realtime.node.operations.users import ORDERS as USER_ORDERS
from flotilla.realtime.node.operations.users import Users
from flotilla.realtime.node.paging import MAX
from flotilla.realtime.node.search import NUMBERS, ORDERS
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import get_store

RANKED = 200  # of each instance, where users or channels are ordered by what instances have to add up


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of their names, `next` as the cursor of the page that follows ("": none), and how many of the
    living instances have answered. `total` counts all that fit, None where it is not known; `visitors` have no name.
    `ranked`: only so many of each instance are in another order than that of their names (0: all that fit are)."""

    rows: list[dict[str, Any]]
    total: int | None = 0
    next: str = ""
    answered: int = 0
    instances: int = 0
    visitors: int = 0
    ranked: int = 0

    @property
    def complete(self) -> bool:
        """Whether every living instance has answered in time."""
        return self.answered >= self.instances


def connections(
    user: Any = None,
    *,
    channel: str = "",
    client: str = "",
    text: str = "",
    instance: str = "",
    address: str = "",
    sdk: str = "",
    order: str = "",
    after: str = "",
    limit: int = 50,
    within: float = ASK_WITHIN,
) -> Page:
    """The connections of a user, in a channel, or all of them. `text` begins their user, address or id, or is in the
    client's name; `instance` begins the instance's name or incarnation, `address` the address; `sdk` is in the SDK's
    name and version.

    `order`: "" for that of their ids; `user`, `address`, `sdk`, `since`, `waiting`, `num_channels` or `commands`, "-"
    before it for the largest first. It is exact over all that fit, of all instances.
    """
    known = order if order.lstrip("-") in ORDERS else ""
    command = Connections(
        user=user_or_all(user),
        channel=channel,
        client=client,
        text=text,
        at=instance,
        address=address,
        sdk=sdk,
        order=known,
        limit=limit + 1,
    )
    if known:
        command.mark = _mark(after, known)
    else:
        command.after = after
    answers, living = _ask(command, within, instance)
    field = known.lstrip("-")

    def key(row: dict[str, Any]) -> Any:
        return (row[field], row["client"]) if field else row["client"]

    found = sorted((row for answer in answers for row in answer["rows"]), key=key, reverse=known.startswith("-"))
    rows, following = found[:limit], ""
    if len(found) > limit:
        following = msgspec.json.encode(key(rows[-1])).decode() if known else rows[-1]["client"]
    return Page(rows, _total(answers), following, len(answers), living)


def connection(client: str, within: float = ASK_WITHIN) -> tuple[dict[str, Any], Page]:
    """All that is known of one connection (`node.operations.connection`), {} where there is none; the page says which
    instances have answered."""
    answers, living = _ask(Connection(client=client), within)
    found = [answer for answer in answers if answer]
    return (found[0] if found else {}), Page(found, len(found), "", len(answers), living)


def _mark(after: str, order: str) -> tuple[float | str, str] | None:
    """Where a page in an order ended; None for what is no cursor of this order."""
    kind: Any = tuple[float, str] if order.lstrip("-") in NUMBERS else tuple[str, str]
    try:
        mark: tuple[float | str, str] = msgspec.json.decode(after, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return mark


def users(
    user: Any = None,
    *,
    text: str = "",
    channel: str = "",
    instance: str = "",
    address: str = "",
    sdk: str = "",
    order: str = "",
    after: str = "",
    limit: int = 50,
    within: float = ASK_WITHIN,
) -> Page:
    """Connected users whose id `text` begins, or one: `user`, `connections` over all instances, and `since`, when the
    first of them began. Those with a connection in a channel, at an instance, from an address, of an SDK.

    `order`: "" for that of their ids; "-connections" or "since", of those that come first on each instance (`ranked`).
    """
    whom = user_or_all(user)
    command = Users(user=whom, text=text, channel=channel, at=instance, address=address, sdk=sdk, limit=limit + 1)
    if order in USER_ORDERS and whom is None:
        ranking = structs.replace(command, order=order, limit=RANKED)
        answers, living = _ask(ranking, within, instance)
        names = [user for user, _ in _merged(map(_by_name, answers))]
        exact = Users(users=names, limit=len(names)) if names else None
        told = [answer for part in _parts(exact, "users") for answer in _ask(part, within)[0]]
        return _ranked(_users_of(told), order, after, limit, answers, living)
    command.after = after
    answers, living = _ask(command, within, instance)
    page = _cut(_users_of(answers), "user", after, limit, Page([], None, "", len(answers), living))
    return replace(page, visitors=sum(answer["visitors"] for answer in answers))


def _users_of(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"user": user, "connections": sum(one[1] for one in same), "since": min(one[2] for one in same)}
        for user, same in _merged(answers)
    ]


def channels(
    *,
    text: str = "",
    user: Any = None,
    instance: str = "",
    order: str = "",
    after: str = "",
    limit: int = 50,
    within: float = ASK_WITHIN,
) -> Page:
    """Channels with subscribers, by the beginning of their name or a glob: `channel`, `subscribers`, publications
    `per_second`, and what `channel_states` adds; those that a user is in, or that an instance has. A whole name finds a
    channel without subscribers, too.

    `order`: "" for that of their names; "-subscribers", "-per_second" or "-published_at", of those that come first on
    each instance (`ranked`).
    """
    command = ActiveChannels(text=text, user=user_or_all(user), at=instance, limit=limit + 1)
    if order in CHANNEL_ORDERS:
        ranking = structs.replace(command, order=order, limit=RANKED)
        answers, living = _ask(ranking, within, instance)
        names = [name for name, _ in _merged(map(_by_name, answers))]
        exact = ActiveChannels(channels=names, limit=len(names)) if names else None
        told = [answer for part in _parts(exact, "channels") for answer in _ask(part, within)[0]]
        page = _ranked(_subscribed(told), order, after, limit, answers, living)
        _add_states(page.rows)
        return page
    command.after = after
    answers, living = _ask(command, within, instance)
    rows = _subscribed(answers)
    whole = text and not (after or is_glob(text) or command.user is not None or instance)
    if whole and not (rows and rows[0]["channel"] == text):
        rows = [*_without_subscribers(text), *rows]
    page = _cut(rows, "channel", after, limit, Page([], None, "", len(answers), living))
    _add_states(page.rows)
    return page


def channel(name: str, within: float = ASK_WITHIN) -> Page:
    """One channel, also when nothing is known of it."""
    answers, living = _ask(ActiveChannels(channel=name, limit=1), within)
    rows = _subscribed(answers) or [{"channel": name, "subscribers": 0, "published_at": 0.0, "per_second": 0.0}]
    _add_states(rows)
    return Page(rows, 1, "", len(answers), living)


def _subscribed(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "channel": name,
            "subscribers": sum(one[1] for one in same),
            "published_at": max(one[2] for one in same),
            "per_second": max((one[3] for one in same if len(one) > 3), default=0.0),  # 0.1 does not tell it
        }
        for name, same in _merged(answers)
    ]


def _by_name(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer whose rows were in another order."""
    return answer | {"rows": sorted(answer["rows"], key=_first)}


def _parts(command: Any, field: str) -> Iterable[Any]:
    """The command for so many of its names at a time as an instance gives rows."""
    names = getattr(command, field) if command is not None else []
    for start in range(0, len(names), MAX):
        part = names[start : start + MAX]
        yield structs.replace(command, **{field: part, "limit": len(part)})


def _ranked(
    rows: list[dict[str, Any]], order: str, after: str, limit: int, answers: list[dict[str, Any]], living: int
) -> Page:
    """A page of rows that were ranked, all of which are here; the cursor is an index."""
    field, name = order.lstrip("-"), "user" if rows and "user" in rows[0] else "channel"
    rows.sort(key=lambda row: (row[field], row[name]), reverse=order.startswith("-"))
    start = _index(after)
    following = str(start + limit) if len(rows) > start + limit else ""
    total = len(rows) if all(answer["total"] <= RANKED for answer in answers) else None
    visitors = sum(answer.get("visitors", 0) for answer in answers)
    ranked = 0 if total is not None else RANKED
    return Page(rows[start : start + limit], total, following, len(answers), living, visitors, ranked)


def _add_states(rows: list[dict[str, Any]]) -> None:
    for row, state in zip(rows, channel_states([row["channel"] for row in rows]), strict=True):
        row |= state | {"published_at": max(row["published_at"], state["published_at"])}


def channel_states(names: list[str]) -> list[dict[str, Any]]:
    """Of each channel: `present` connections and `users` (None where presence is off), `history` (whether it is kept),
    `epoch`, `top`, `stored` publications, and `published_at` as far as history tells (0: not known)."""
    store, options = get_store(), [_options(name) for name in names]
    streams = stream_states(store, list(zip(names, options, strict=True)))
    sizes = stats(store, [Scope.channel(name) for name in names])
    return [_state(*one) for one in zip(streams, sizes, options, strict=True)]


def members(channel: str, *, after: str = "", limit: int = 50) -> tuple[list[Member], str]:
    """Some of those present in a channel, as Redis has them, and the cursor of those that follow."""
    return some_members(get_store(), Scope.channel(channel), _cursor(after), limit)


def instances(*, text: str = "", after: str = "", limit: int = 50) -> Page:
    """The living instances, by the beginning of their name or incarnation: what they say of themselves, and the lease
    `left` (s)."""
    store = get_store()
    left = left_sync(store)
    found = [about | {"left": left.get(about["incarnation"], 0.0)} for about in alive_sync(store)]
    fitting = sorted((one for one in found if _is_at(one, text)), key=lambda one: str(one["incarnation"]))
    rows = [one for one in fitting if one["incarnation"] > after]
    return _cut(rows, "incarnation", after, limit, Page([], len(fitting), "", len(found), len(found)))


def blocks(*, text: str = "", after: str = "", limit: int = 50) -> Page:
    """Who is blocked, in the order in which blocks end; `text` is the whole name of one user or address."""
    store = get_store()
    if text:
        found = blocklist.find(store, [USER + text, ADDRESS + counted(text)])
        return Page([_block(block) for block in found], len(found))
    start = _index(after)
    total, found = blocklist.some(store, start, limit)
    following = start + limit
    return Page([_block(block) for block in found], total, str(following) if following < total else "")


def _index(after: str) -> int:
    """An index of a list; 0 for what is no number, or higher than any list is long."""
    return int(after) if after.isascii() and after.isdigit() and len(after) < len(str(2**63)) else 0


def _cursor(after: str) -> str:
    """A cursor of Redis's own, which has 64 bits; "" for anything else."""
    shaped = after.isascii() and after.isdigit() and len(after) <= len(str(2**64))
    return after if shaped and int(after) < 2**64 else ""


def _ask(command: Command, within: float, at: str = "") -> tuple[list[dict[str, Any]], int]:
    """The instances' answers, and how many instances there are; those whose names begin so are waited for."""
    store = get_store()
    living = [about["incarnation"] for about in alive_sync(store) if _is_at(about, at)]
    answers = Control(store).ask_sync(command, living, within)
    return list(answers.values()), len(set(living) | answers.keys())


def _is_at(about: dict[str, Any], beginning: str) -> bool:
    return str(about.get("name", "")).startswith(beginning) or str(about["incarnation"]).startswith(beginning)


def _merged(answers: Iterable[dict[str, Any]]) -> Iterable[tuple[str, list[list[Any]]]]:
    """Rows of all instances by their name, in order. Each gave its first ones: the first of all are among them."""
    rows = heapq.merge(*(answer["rows"] for answer in answers), key=_first)
    return ((name, list(same)) for name, same in groupby(rows, key=_first))


def _first(row: list[Any]) -> str:
    return str(row[0])


def _total(answers: Iterable[dict[str, Any]]) -> int:
    return sum(answer["total"] for answer in answers)


def _cut(rows: list[dict[str, Any]], name: str, after: str, limit: int, page: Page) -> Page:
    if len(rows) > limit:
        return replace(page, rows=rows[:limit], next=rows[limit - 1][name])
    return replace(page, rows=rows, total=page.total if page.total is not None or after else len(rows))


def _without_subscribers(name: str) -> list[dict[str, Any]]:
    """The row of a channel that nobody subscribes to, if Redis has anything of it."""
    (state,) = channel_states([name])
    known = state["epoch"] or state["present"]
    return [{"channel": name, "subscribers": 0, "published_at": 0.0, "per_second": 0.0}] if known else []


def _options(channel: str) -> ChannelOptions:
    try:
        return options_of(channel)
    except CommandError:  # no such namespace (any more)
        return ChannelOptions()


def _state(stream: StreamState, sizes: tuple[int, int], options: ChannelOptions) -> dict[str, Any]:
    return {
        "present": sizes[0] if options.presence or sizes[0] else None,
        "users": sizes[1] if options.presence or sizes[0] else None,
        "history": options.has_history,
        "epoch": stream.epoch,
        "top": stream.top,
        "stored": stream.stored,
        "published_at": stream.published_at,
    }


def _block(block: Block) -> dict[str, Any]:
    return {
        "who": block.who,
        "name": block.name,
        "is_address": block.is_address,
        "until": block.until,
        "left": max(0.0, block.until - time.time()),
        "by": str(block.about.get("by", "")),
        "note": str(block.about.get("note", "")),
    }
