"""The inputs that actions want, and how each is read from a form: ValueError says what is wrong with it, in words."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flotilla.natural_names import NamedUser, user_named
from flotilla.ratelimit.http.addresses import address_of
from flotilla.realtime.api.publishing import payload
from flotilla.realtime.protocol.codes import CommandError

DURATIONS = {"600": "10 minutes", "3600": "1 hour", "86400": "1 day", "": "seconds:"}

Form = Mapping[str, Any]


def _text(form: Form, name: str) -> str:
    text = str(form.get(name, "")).strip()
    if "\0" in text:  # no database would take it into the log
        raise ValueError("a text has no NUL characters")
    return text


def channel(form: Form) -> str:
    """The name of a channel."""
    name = _text(form, "channel")
    if not name:
        raise ValueError("say which channel")
    return name


def data(form: Form) -> msgspec.Raw:
    """JSON, on one line."""
    text = _text(form, "data")
    try:
        found = payload(msgspec.Raw(text.encode()), "")
    except CommandError:
        raise ValueError("this is not JSON; put a text in quotation marks") from None
    if found is None:
        raise ValueError('write what to send as JSON, as {"text": "hello"}')
    return msgspec.Raw(found)


def seconds(form: Form) -> float:
    """For how long: one of DURATIONS, or so many seconds."""
    text = _text(form, "duration") or _text(form, "seconds")
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found <= 10 * 365 * 86_400:  # NaN is refused, too
        raise ValueError("say for how many seconds, at least 1")
    return found


def whom(form: Form) -> tuple[NamedUser | None, str]:
    """A user or an address: one of the two, the other is None or "". An address as it is counted: IPv6 by its /64."""
    name = _text(form, "whom")
    if not name:
        raise ValueError("say whom: a user's name or key, or an address")
    return (None, address_of(name)) if form.get("kind") == "address" else (user_named(name), "")


def note(form: Form) -> str:
    """A remark, maybe none."""
    return _text(form, "note")[:200]


FIELDS: dict[str, Callable[[Form], Any]] = {
    "whom": whom,
    "channel": channel,
    "data": data,
    "seconds": seconds,
    "note": note,
}


def shown(payload: msgspec.Raw) -> str:
    """The beginning of a payload, for the log."""
    text = bytes(payload).decode()
    return text if len(text) <= 200 else f"{text[:200]}…"
