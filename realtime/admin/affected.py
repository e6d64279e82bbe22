"""Whom a dangerous action of the admin will hit, as its confirmation lists them. Looking changes nothing.

What the page says is true when it is asked. Whoever connects between the page and the answer is hit as well, where the
action is about a user or an address.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from flotilla.natural_names import NamedUser
from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.admin.words import count, owner
from flotilla.realtime.api.inspection import Page, connections, users
from flotilla.realtime.api.user_names import name_users
from flotilla.realtime.node.control import ASK_WITHIN

HURRIED = 0.1  # seconds that further questions wait for an answer, after an instance has left one unanswered
MAX_LISTED = 200  # connections from one address


class Affected(NamedTuple):
    """Who is hit: in a few words (`3 connections of 1 user`), and line by line."""

    words: str
    lines: list[str]


def rows_of(asks: Iterable[Callable[[float], Page]]) -> list[dict[str, Any]]:
    """The rows of several questions. An instance that does not answer is waited for once, not for each of them."""
    within, rows = ASK_WITHIN, []
    for ask in asks:
        page = ask(within)
        rows += page.rows
        within = within if page.complete else HURRIED
    return rows


def connections_of(ids: Sequence[str], channel: str = "") -> list[dict[str, Any]]:
    """The connections with these ids that there are (in a channel), with the names of their users."""

    def of_client(client: str) -> Callable[[float], Page]:
        return lambda within: connections(client=client, channel=channel, limit=1, within=within)

    rows = rows_of(of_client(client) for client in ids)
    name_users(rows)
    return rows


def by_client(ids: Sequence[str], channel: str = "") -> Affected:
    """Connections, or their subscriptions to a channel."""
    rows = connections_of(ids, channel)
    words = f"{count(len(rows), 'subscription')} to {channel}" if channel else count(len(rows), "connection")
    return Affected(words, [f"{owner(row)}, client {row['name'] or row['client']}" for row in rows])


def by_user(ids: Sequence[str]) -> Affected:
    """All connections of users."""

    def of_user(user: str) -> Callable[[float], Page]:
        return lambda within: users(user, limit=1, within=within)

    found = {row["user"]: row["connections"] for row in rows_of(map(of_user, ids))}
    people = [{"user": one} for one in ids]
    name_users(people)
    lines = [
        f"{NamedUser(one['user'], one['username'])}: {count(found.get(one['user'], 0), 'connection')}" for one in people
    ]
    return Affected(f"{count(sum(found.values()), 'connection')} of {count(len(ids), 'user')}", lines)


def by_address(addresses: Sequence[str]) -> Affected:
    """All connections from addresses, as limits count them; of each address those of one page."""
    total, more, lines = 0, "", []
    for address in addresses:
        # a search finds what begins with a text, and what is counted by a /64 begins with as much of it
        page = connections(text=address.partition("::/64")[0], limit=MAX_LISTED)
        rows = [row for row in page.rows if counted(row["address"]) == address]
        name_users(rows)
        total += len(rows)
        more = "at least " if page.next else more
        lines += [f"{address}: {'at least ' if page.next else ''}{count(len(rows), 'connection')}", *map(owner, rows)]
    return Affected(f"{more}{count(total, 'connection')} from {count(len(addresses), 'address')}", lines)
