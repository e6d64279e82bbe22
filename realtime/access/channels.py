"""Channel names: which are valid, which namespace they belong to, and what `$` and `#` in them mean.

`$clients:room` and `$users:room` are maps of who is present in `room`, where its namespace has them.
`ns:rest` belongs to namespace `ns`; a leading `$` (private: only by token) comes before it; the part after the last
`#` lists the users a user-limited channel is for; `#user` alone is that user's personal channel.
"""

from flotilla.realtime.conf import ChannelOptions, RealtimeConfig, provided_namespace
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.maps import CLIENTS
from flotilla.realtime.protocol.maps import USERS as USERS_OF

PRIVATE = "$"
USERS = "#"
PRESENCE_MAP = ChannelOptions(map=True, history_size=1000, history_ttl=600.0, history_meta_ttl=1800.0)
"""The options of every map of presence: 1,000 joins and leaves are kept for who comes back, for ten minutes.
When no instance lives any more, the stream goes before presence does (`KEY_TTL` after its last refresh), which tells
nobody: who comes back later must not take entries that expired for present."""


def check_name(channel: str, config: RealtimeConfig) -> None:
    """Raise CommandError(107) unless the name is 1..max_channel_length bytes of printable ASCII (space included)."""
    if not 0 < len(channel) <= config.max_channel_length or not (channel.isascii() and channel.isprintable()):
        raise CommandError(ErrorCode.BAD_REQUEST)


def namespace_of(channel: str) -> str | None:
    """The namespace's name, "" in `:rest`, or None for a channel without one.

    A name that begins with `#` has none: user ids such as `ldap:ann` would otherwise have no personal channel.
    """
    name, separator, _ = channel.removeprefix(PRIVATE).partition(":")
    return name if separator and not name.startswith(USERS) else None


def options_for(channel: str, config: RealtimeConfig) -> ChannelOptions:
    """The options of a channel. Raises CommandError(107) for an invalid name, 102 for an unknown namespace."""
    check_name(channel, config)
    name = namespace_of(channel)
    if name is None:
        return config.without_namespace
    options = config.namespaces.get(name) or provided_namespace(name)
    if options is None:
        base = presence_base(channel, config)
        if base is None:
            raise CommandError(ErrorCode.UNKNOWN_CHANNEL)
        return PRESENCE_MAP
    return options


def presence_base(channel: str, config: RealtimeConfig) -> str | None:
    """The channel whose members a map of presence shows; None where `channel` is none, or its namespace has none."""
    for prefix, option in ((CLIENTS, "map_clients"), (USERS_OF, "map_users")):
        if channel.startswith(prefix) and prefix[1:-1] not in config.namespaces:
            base = channel.removeprefix(prefix)
            try:
                return base if getattr(options_for(base, config), option) else None
            except CommandError:
                return None
    return None


def is_private(channel: str) -> bool:
    """Whether the channel is open to those with a subscription token alone."""
    return channel.startswith(PRIVATE)


def limited_users(channel: str) -> tuple[str, ...] | None:
    """The users named after the last `#`, or None when the name has no `#`. "" is nobody, not the anonymous user."""
    if USERS not in channel:
        return None
    return tuple(user for user in channel.rpartition(USERS)[2].split(",") if user)


def personal_channel(user: str, config: RealtimeConfig) -> str | None:
    """The user's own channel `#<user>`, or None when it is off, the user anonymous, or the id cannot be in a name.

    An id with a comma or `#` has none: `#a,b` would also be the channel of users `a` and `b`.
    """
    if not config.user_personal_channel or not user or USERS in user or "," in user:
        return None
    channel = USERS + user
    try:
        check_name(channel, config)
    except CommandError:
        return None
    return channel
