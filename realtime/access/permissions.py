"""The permission matrix: who may connect, subscribe, publish, and see presence and history. Pure functions, no I/O.

Each returns the hook whose answer decides (see `hooks`), or None when the action is allowed outright; a refusal is
raised as CommandError 103 (108 where the channel does not keep what is asked for). A hook decides alone: with one set,
the `allow_*` options of that action are not looked at. Insecure mode allows everything, but it does not turn on a
feature that the channel does not have.

A caller that wants to know the reasons passes a `trace`. The rules write into it in the order in which they are asked,
and the last one decides. So the reasons come from the evaluation itself; without a trace nothing is collected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flotilla.realtime.access.channels import USERS, is_private, limited_users
from flotilla.realtime.conf import ChannelOptions, Hook
from flotilla.realtime.protocol.codes import CommandError, ErrorCode


@dataclass(frozen=True, slots=True)
class Granted:
    """What a subscription gets of what it wished for."""

    recoverable: bool = False
    positioned: bool = False
    join_leave: bool = False


Trace = list[tuple[str, str]]
"""Rules with their answers, in the order in which they were asked."""


_INSECURE = "insecure mode"
_KEPT = {"presence": "presence is kept", "has_history": "history is kept"}


def connect(
    *,
    user: str,
    active: bool | None = None,
    anonymous: bool = False,
    insecure: bool = False,
    trace: Trace | None = None,
) -> bool:
    """May `user` connect? `active`: the user's account is, None without an account in Django; `anonymous`: visitors
    are let in."""
    if not user:
        return _asked(trace, "a visitor: `anonymous`", anonymous or insecure)
    return active is None or _asked(trace, "the user is active", active)


def subscribe(
    channel: str,
    options: ChannelOptions,
    *,
    user: str,
    has_token: bool = False,
    personal: bool = False,
    insecure: bool = False,
    trace: Trace | None = None,
) -> Hook:
    """May `user` subscribe? `has_token`: a verified token came along; `personal`: personal channels are on."""
    if has_token or insecure:
        _note(trace, _INSECURE if insecure else "a subscription token", "yes")
        return None
    if is_private(channel):
        _note(trace, "a private channel (`$`): by subscription token alone", "no token here")
        raise _denied()
    if options.subscribe_permission is not None:
        return options.subscribe_permission
    if _names_users(channel, options, personal):
        # Open to those it names and nobody else, whatever allow_subscribe_for_client says.
        allowed = _named(channel, options, user=user, personal=personal, trace=trace)
    else:
        options = options if trace is None else _noting(options, trace)
        allowed = options.allow_subscribe_for_client and (user != "" or options.allow_subscribe_for_anonymous)
    if not allowed:
        raise _denied()
    return None


def publish(
    options: ChannelOptions,
    *,
    user: str,
    subscribed: bool = False,
    insecure: bool = False,
    trace: Trace | None = None,
) -> Hook:
    """May `user` publish? `subscribed`: this connection is, by its own wish or the server's."""
    return _write(options.publish_permission, _publish_access, options, user, subscribed, insecure, trace)


def remove(
    options: ChannelOptions,
    *,
    user: str,
    subscribed: bool = False,
    insecure: bool = False,
    trace: Trace | None = None,
) -> Hook:
    """May `user` remove entries of a map? `subscribed`: this connection is, by its own wish or the server's."""
    return _write(options.remove_permission, _remove_access, options, user, subscribed, insecure, trace)


def presence(
    options: ChannelOptions,
    *,
    user: str,
    subscribed: bool = False,
    insecure: bool = False,
    trace: Trace | None = None,
) -> None:
    """May `user` see who is in the channel? Raises CommandError 108 where presence is off, else 103."""
    options = options if trace is None else _noting(options, trace, subscribed)
    if not options.presence:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    if insecure:
        _note(trace, _INSECURE, "yes")
    elif not _presence_access(options, user, subscribed):
        raise _denied()


def history(
    options: ChannelOptions,
    *,
    user: str,
    subscribed: bool = False,
    insecure: bool = False,
    trace: Trace | None = None,
) -> None:
    """May `user` read the channel's history? Raises CommandError 108 where history is off, else 103."""
    options = options if trace is None else _noting(options, trace, subscribed)
    if not options.has_history:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    if insecure:
        _note(trace, _INSECURE, "yes")
    elif not _history_access(options, user, subscribed):
        raise _denied()


def grants(
    options: ChannelOptions,
    *,
    user: str,
    recoverable: bool = False,
    positioned: bool = False,
    join_leave: bool = False,
    insecure: bool = False,
) -> Granted:
    """Which of its wishes a subscription of `user` gets. The rules are asked as for one who is subscribed."""
    readable = insecure or _history_access(options, user, subscribed=True)
    visible = insecure or _presence_access(options, user, subscribed=True)
    recovers = options.force_recovery or (recoverable and (options.allow_recovery or readable))
    positions = options.force_positioning or (positioned and (options.allow_positioning or readable))
    return Granted(
        recoverable=options.has_history and recovers,
        positioned=options.has_history and (recovers or positions),
        join_leave=bool(options.join_leave) and (options.force_push_join_leave or (join_leave and visible)),
    )


def _names_users(channel: str, options: ChannelOptions, personal: bool) -> bool:
    return USERS in channel if options.allow_user_limited_channels else personal and channel.startswith(USERS)


def _named(channel: str, options: ChannelOptions, *, user: str, personal: bool, trace: Trace | None) -> bool:
    users = limited_users(channel) or ()
    allowed = (personal and _is_personal(channel, user)) or (options.allow_user_limited_channels and user in users)
    if trace is not None:
        _asked(trace, f"the channel names its users ({', '.join(users) or 'nobody'})", allowed)
    return allowed


def _is_personal(channel: str, user: str) -> bool:
    """Whether this is the user's own channel. An id with a comma has none: it would stand for two users in a name."""
    return user != "" and channel == USERS + user and "," not in user and USERS not in user


def _write(
    hook: Hook,
    access: Callable[[ChannelOptions, str, bool], bool],
    options: ChannelOptions,
    user: str,
    subscribed: bool,
    insecure: bool,
    trace: Trace | None,
) -> Hook:
    """May `user` do something that a hook decides, or else the options that `access` asks?"""
    if insecure:
        _note(trace, _INSECURE, "yes")
        return None
    if hook is not None:
        return hook
    if not access(options if trace is None else _noting(options, trace, subscribed), user, subscribed):
        raise _denied()
    return None


def _publish_access(options: ChannelOptions, user: str, subscribed: bool) -> bool:
    allowed = options.allow_publish_for_client or (options.allow_publish_for_subscriber and subscribed)
    return allowed and (user != "" or options.allow_publish_for_anonymous)


def _remove_access(options: ChannelOptions, user: str, subscribed: bool) -> bool:
    allowed = options.allow_remove_for_client or (options.allow_remove_for_subscriber and subscribed)
    return allowed and (user != "" or options.allow_remove_for_anonymous)


def _presence_access(options: ChannelOptions, user: str, subscribed: bool) -> bool:
    allowed = options.allow_presence_for_client or (options.allow_presence_for_subscriber and subscribed)
    return allowed and (user != "" or options.allow_presence_for_anonymous)


def _history_access(options: ChannelOptions, user: str, subscribed: bool) -> bool:
    allowed = options.allow_history_for_client or (options.allow_history_for_subscriber and subscribed)
    return allowed and (user != "" or options.allow_history_for_anonymous)


class _Noting:
    """A channel's options as a rule reads them: each one that is read is noted in the trace."""

    def __init__(self, options: ChannelOptions, trace: Trace, subscribed: bool) -> None:
        self._options = options
        self._trace = trace
        self._subscribed = subscribed

    def __getattr__(self, name: str) -> bool:
        answer: bool = getattr(self._options, name)
        _asked(self._trace, _KEPT.get(name, name), answer)
        if answer and name.endswith("_for_subscriber"):  # then the rule asks for that next
            _asked(self._trace, "the user is a subscriber", self._subscribed)
        return answer


def _noting(options: ChannelOptions, trace: Trace, subscribed: bool = False) -> ChannelOptions:
    return cast(ChannelOptions, _Noting(options, trace, subscribed))


def _note(trace: Trace | None, rule: str, answer: str) -> None:
    if trace is not None:
        trace.append((rule, answer))


def _asked(trace: Trace | None, rule: str, answer: bool) -> bool:
    """The answer of a rule, which is noted where somebody wants to know."""
    if trace is not None:
        trace.append((rule, "yes" if answer else "no"))
    return answer


def _denied() -> CommandError:
    return CommandError(ErrorCode.PERMISSION_DENIED)
