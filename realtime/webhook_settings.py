"""The settings of one webhook, and what must hold in them beyond their types. Pure; no message repeats a secret.

An address is checked twice: as it is written, here; and as its name resolves, at each request (`outgoing_http`).
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from flotilla.config_reader import PositiveSeconds
from flotilla.realtime.outgoing_http import is_public, url_fault

EventName = Literal[
    "connected",
    "disconnected",
    "user_online",
    "user_offline",
    "subscribed",
    "unsubscribed",
    "occupied",
    "vacated",
    "user_joined",
    "user_left",
]
MAX_WEBHOOKS = 16
"""Each one has a queue that every event is written to."""
_NAME = re.compile(r"[-A-Za-z0-9_]{1,64}")


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service that is told what happens by POST requests: where, what, and how much may wait for it."""

    url: str = ""
    """Where requests go: https, or http to a private address with `allow_private`."""
    secret: str | tuple[str, ...] = ""
    """What requests are signed with (HMAC-SHA256): of several, with each, so that a secret can be changed in turn."""
    events: tuple[EventName, ...] = ()
    """Which kinds of events; none named: all of them."""
    namespaces: tuple[str, ...] = ()
    """Of channels: in which namespaces, `""` for channels without one. None named: all of them."""
    allow_private: bool = False
    """The service may have a private address: this machine's, or one of your own network."""
    timeout: PositiveSeconds = 5.0
    """How long one request may take in all."""
    retry_longest: PositiveSeconds = 60.0
    """The longest pause before a request that failed is sent again; the first is half a second."""
    max_batch: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Events in one request."""
    max_waiting: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Events that wait in one of a Redis's 64 partitions, at most; then the oldest are dropped."""
    max_waiting_bytes: Annotated[int, Meta(ge=4096, le=2**30)] = 2 * 1024 * 1024
    """The same in bytes."""
    keep: PositiveSeconds = 86_400.0
    """How long events wait after the last one of their partition came."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets, the first one first."""
        return (self.secret,) if isinstance(self.secret, str) else self.secret


def faults(config: Any) -> Iterator[tuple[str, str, str]]:
    """Each fault: the setting, what is wrong with it, and its mend."""
    if len(config.webhooks) > MAX_WEBHOOKS:
        yield "webhooks", f"expected at most {MAX_WEBHOOKS}, got {len(config.webhooks)}", "Let one service tell others."
    for name, webhook in config.webhooks.items():
        path = f"webhooks.{name}"
        if not _NAME.fullmatch(name):
            yield path, "expected a name of 1 to 64 letters, digits, `-`, `_`", "Rename it; metrics carry the name."
        if fault := _url_fault(webhook):
            yield f"{path}.url", *fault
        if not webhook.secrets or "" in webhook.secrets:
            mend = "Set 32 random bytes or more: `openssl rand -hex 32`. The service checks signatures with it."
            yield f"{path}.secret", "expected a secret", mend
        for namespace in webhook.namespaces:
            if namespace and namespace not in config.namespaces:
                mend = "Name one of `namespaces`, or take it out."
                yield f"{path}.namespaces", f"expected a configured namespace, got {namespace!r}", mend


def _url_fault(webhook: Webhook) -> tuple[str, str] | None:
    example = 'Write its address, as "https://example.com/hooks/flotilla".'
    if fault := url_fault(webhook.url):
        return fault, example
    secure, host = webhook.url.lower().startswith("https:"), _host(webhook.url)
    mend = "Set allow_private if the service is yours."
    if host == "localhost" or ((address := _address(host)) is not None and not is_public(address)):
        return None if webhook.allow_private else ("expected a public address", mend)
    if secure:
        return None
    if not webhook.allow_private or _address(host) is not None:
        return "expected https: over http everybody on the way reads and changes what is sent", example
    return None


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _address(host: str) -> Any:
    try:
        return ip_address(host)
    except ValueError:
        return None
