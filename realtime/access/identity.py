"""What is known of a connection's user: the identity, and the server-side subscriptions it came with.

Plain immutable data, whatever it was read from. `info` and `data` are compact JSON bytes, passed on unparsed; `meta`
stays in the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from msgspec import structs

from flotilla.realtime.conf import ChannelOptions


@dataclass(frozen=True, slots=True)
class Overrides:
    """Channel options that a token changes for one subscription; None leaves the namespace's own."""

    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_recovery: bool | None = None
    force_positioning: bool | None = None

    def apply(self, options: ChannelOptions) -> ChannelOptions:
        """The options with the overridden ones replaced."""
        changed = {item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}
        return structs.replace(options, **changed) if changed else options


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class ServerSub:
    """A subscription the server makes for the client. The channel's name is not checked yet."""

    channel: str
    info: bytes | None = None
    data: bytes | None = None
    overrides: Overrides = NO_OVERRIDES


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to. `user` "" is anonymous; `expire_at` is Unix time in seconds, None for never."""

    user: str = ""
    info: bytes | None = None
    expire_at: float | None = None
    channels: tuple[ServerSub, ...] = ()
    data: bytes | None = None
    meta: Mapping[str, Any] | Any = field(default=None, hash=False)
    session_key: str | None = None
    via: Literal["token", "session", "hook", "anonymous"] = "anonymous"


ANONYMOUS = Identity()
