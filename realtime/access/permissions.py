"""The permission matrix: who may subscribe, publish, and see presence and history. Pure functions, no I/O.

Each returns the hook whose answer decides (see `hooks`), or None when the action is allowed outright; a refusal is
raised as CommandError 103 (108 where the channel does not keep what is asked for). A hook decides alone: with one set,
the `allow_*` options of that action are not looked at. Insecure mode allows everything but gives no channel a feature
it has not.
"""

from dataclasses import dataclass

from flotilla.realtime.access.channels import USERS, is_private, limited_users
from flotilla.realtime.conf import ChannelOptions, Hook
from flotilla.realtime.protocol.codes import CommandError, ErrorCode


@dataclass(frozen=True, slots=True)
class Granted:
    """What a subscription gets of what it wished for."""

    recoverable: bool = False
    positioned: bool = False
    join_leave: bool = False


def subscribe(
    channel: str,
    options: ChannelOptions,
    *,
    user: str,
    has_token: bool = False,
    personal: bool = False,
    insecure: bool = False,
) -> Hook:
    """May `user` subscribe? `has_token`: a verified token came along; `personal`: personal channels are on."""
    if has_token or insecure:
        return None
    if is_private(channel):
        raise _denied()
    if options.subscribe_permission is not None:
        return options.subscribe_permission
    if _names_users(channel, options, personal):
        # Open to those it names and nobody else, whatever allow_subscribe_for_client says.
        allowed = _named(channel, options, user=user, personal=personal)
    else:
        allowed = options.allow_subscribe_for_client and _known(user, options.allow_subscribe_for_anonymous)
    if not allowed:
        raise _denied()
    return None


def publish(options: ChannelOptions, *, user: str, subscribed: bool = False, insecure: bool = False) -> Hook:
    """May `user` publish? `subscribed`: this connection is, by its own wish or the server's."""
    if insecure:
        return None
    if options.publish_permission is not None:
        return options.publish_permission
    _require(
        options.allow_publish_for_client or (options.allow_publish_for_subscriber and subscribed),
        _known(user, options.allow_publish_for_anonymous),
    )
    return None


def presence(options: ChannelOptions, *, user: str, subscribed: bool = False, insecure: bool = False) -> None:
    """May `user` see who is in the channel? Raises CommandError 108 where presence is off, else 103."""
    if not options.presence:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    _require(insecure or _presence_access(options, user, subscribed))


def history(options: ChannelOptions, *, user: str, subscribed: bool = False, insecure: bool = False) -> None:
    """May `user` read the channel's history? Raises CommandError 108 where history is off, else 103."""
    if not options.has_history:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    _require(insecure or _history_access(options, user, subscribed))


def grants(
    options: ChannelOptions,
    *,
    user: str,
    recoverable: bool = False,
    positioned: bool = False,
    join_leave: bool = False,
    insecure: bool = False,
) -> Granted:
    """What of the wishes a subscription of `user` gets; access is judged as a subscriber's, which it is about to be."""
    readable = insecure or _history_access(options, user, subscribed=True)
    visible = insecure or _presence_access(options, user, subscribed=True)
    recovers = options.force_recovery or (recoverable and (options.allow_recovery or readable))
    positions = options.force_positioning or (positioned and (options.allow_positioning or readable))
    return Granted(
        recoverable=options.has_history and recovers,
        positioned=options.has_history and (recovers or positions),
        join_leave=options.join_leave and (options.force_push_join_leave or (join_leave and visible)),
    )


def _names_users(channel: str, options: ChannelOptions, personal: bool) -> bool:
    return USERS in channel if options.allow_user_limited_channels else personal and channel.startswith(USERS)


def _named(channel: str, options: ChannelOptions, *, user: str, personal: bool) -> bool:
    if not user:
        return False
    # An id with a comma would stand for two users in a name, so it is nobody's there.
    if personal and channel == USERS + user and "," not in user and USERS not in user:
        return True
    return options.allow_user_limited_channels and user in (limited_users(channel) or ())


def _presence_access(options: ChannelOptions, user: str, subscribed: bool) -> bool:
    allowed = options.allow_presence_for_client or (options.allow_presence_for_subscriber and subscribed)
    return allowed and _known(user, options.allow_presence_for_anonymous)


def _history_access(options: ChannelOptions, user: str, subscribed: bool) -> bool:
    allowed = options.allow_history_for_client or (options.allow_history_for_subscriber and subscribed)
    return allowed and _known(user, options.allow_history_for_anonymous)


def _known(user: str, anonymous_allowed: bool) -> bool:
    return user != "" or anonymous_allowed


def _require(*conditions: bool) -> None:
    if not all(conditions):
        raise _denied()


def _denied() -> CommandError:
    return CommandError(ErrorCode.PERMISSION_DENIED)
