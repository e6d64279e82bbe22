"""Where a row is shown: a place is a channel and the row's key in it.

Channels that could not be published to are left out and said in the log: a row that cannot be shown is saved all the
same.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.conf import get_config
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.outbox.rows import MAX_TEXT
from flotilla.realtime.protocol.codes import CommandError

logger = logging.getLogger("flotilla.realtime.live")

Place = tuple[str, str]
"""A channel and a key."""
Places = frozenset[Place]
NOWHERE: Places = frozenset()


def places_of_values(live: LiveModel, key: Any, values: Mapping[str, Any]) -> Places:
    """Where a row is shown, from the values of the fields that the patterns name."""
    text = live.key_of(key)
    if len(live.patterns) == 1:
        channel = live.patterns[0].channel(values)
        return frozenset(((channel, text),)) if channel is not None and _usable(live, channel, text) else NOWHERE
    channels = (pattern.channel(values) for pattern in live.patterns)
    return frozenset((one, text) for one in channels if one is not None and _usable(live, one, text))


def places_of_row(live: LiveModel, row: Any) -> Places:
    """Where an instance is shown, as it says itself. Raises TypeError for an answer of a function that is no text."""
    key = getattr(row, live.concrete(live.key).attname)
    if live.function is None:
        values = {name: getattr(row, field.attname) for name, field in live.pattern_fields.items()}
        return places_of_values(live, key, values)
    text = live.key_of(key)
    return frozenset((one, text) for one in _texts(live, live.function(row)) if _usable(live, one, text))


def _texts(live: LiveModel, answer: str | Iterable[str] | None) -> Iterable[str]:
    if answer is None:
        return ()
    if isinstance(answer, str):
        return (answer,)
    channels = tuple(answer)
    for channel in channels:
        if not isinstance(channel, str):
            raise TypeError(f"the function of {live.label} gave {channel!r}: return a channel, several, or None")
    return channels


def _usable(live: LiveModel, channel: str, key: str) -> bool:
    try:
        options_for(channel, get_config())
    except CommandError as error:
        logger.error("%s: a row is shown in no channel %r: %s", live.label, channel[:MAX_TEXT], error)
        return False
    if len(channel) > MAX_TEXT or not 0 < len(key) <= MAX_TEXT or "\0" in key:
        logger.error("%s: a row's channel or key has more than %s characters: %r", live.label, MAX_TEXT, key[:MAX_TEXT])
        return False
    return True
