"""Rows that the relay sends without a body are rendered: changes that only the database saw, and those tried again.

What is read then may be newer than the change. So that a client is shown no older state behind it, whatever waits
behind of the same key is rendered when it is sent as well: when the rows were read, its body is taken away.
"""

from collections.abc import Sequence

from django.db.models import Q

from flotilla.realtime.live.keys import pages_with_keys
from flotilla.realtime.live.registry import live_by_label
from flotilla.realtime.live.rendering import rendered
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.renderers import Place, Rendering


class UnknownLive(Exception):
    """The outbox names a live model that this process does not have."""


def render(label: str, places: Sequence[Place], using: str, above: int) -> dict[Place, Rendering]:
    """What holds in places now: `set` and what is published of the row, or `remove` and None. What waits there behind
    the position `above` is rendered when it is sent.

    Raises UnknownLive, and what rendering raises.
    """
    live = live_by_label(label)
    if live is None:
        raise UnknownLive(f"no live model is called {label}: the process that sends must have the code that writes")
    found: dict[Place, Rendering] = dict.fromkeys(places, ("remove", None))
    for rows in pages_with_keys(live, live.queryset().using(using), dict.fromkeys(key for _, key in places)):
        for row in rendered(live, rows, html=True):
            found.update((place, ("set", row.body)) for place in row.places if place in found)
    _take_bodies(places, using, above)
    return found


def _take_bodies(places: Sequence[Place], using: str, above: int) -> None:
    channels, keys = {channel for channel, _ in places}, {key for _, key in places}
    behind = OutboxRow.objects.using(using).filter(position__gt=above, sent_at=None, failed_at=None)
    stored = Q(operation="remove") | Q(
        body__isnull=False
    )  # of others with these keys, too: they are rendered for nothing
    here = behind.filter(stored, channel__in=channels, key__in=keys, operation__in=("set", "remove"))
    here.update(operation="set", body=None)
