"""Why somebody may or may not do something in a channel: every rule that is asked, its answer, and the verdict.

The verdicts come from `permissions` and `hooks`, as they do for clients; the rules beside are what those looked at.
What a subscription token would allow is not known here: it is said where one is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import USERS, is_private, limited_users, namespace_of, options_for
from flotilla.realtime.conf import ChannelOptions, Hook, RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError


@dataclass(slots=True)
class Verdict:
    """One action: the rules that were asked in order, each with its answer, and whether it is allowed."""

    action: str
    allowed: bool
    rules: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""


async def explain(user: str, channel: str, config: RealtimeConfig, info: Any = None) -> list[Verdict]:
    """What a user (an id, "" for a visitor) may do in a channel, from connecting to reading its history.

    `info` is what the client would send along. Verdicts follow from each other: who may not connect may do nothing.
    """
    memory: dict[Any, Any] = {}
    found = await hooks.user_of(user, memory)
    connect = Verdict("connect", True, list(_user(user, found, config)))
    connect.allowed = bool(getattr(found, "is_active", True)) and (bool(user) or config.anonymous or config.insecure)
    try:
        options = options_for(channel, config)
    except CommandError as error:
        return [connect, Verdict("subscribe", False, [("the channel's name", "no")], error.message)]
    subscribe = await _asked("subscribe", user, channel, info, memory, lambda: _subscribing(user, channel, config))
    subscribe.rules = [*_name(channel), *_subscribe_rules(user, channel, options, config, subscribe)]
    subscribed = subscribe.allowed
    publish = await _asked(
        "publish", user, channel, info, memory,
        lambda: permissions.publish(options, user=user, subscribed=subscribed, insecure=config.insecure),
    )  # fmt: skip
    publish.rules = list(_publish_rules(user, options, config, publish, subscribed))
    verdicts = [connect, subscribe, publish]
    for action, rule, there in (
        ("presence", permissions.presence, options.presence),
        ("history", permissions.history, options.has_history),
    ):
        ask = rule
        verdict = await _asked(
            action, user, channel, info, memory,
            lambda ask=ask: ask(options, user=user, subscribed=subscribed, insecure=config.insecure),
        )  # fmt: skip
        verdict.rules = [(f"{action} is kept", _yes(there)), *_options_rules(action, user, options, config, subscribed)]
        verdicts.append(verdict)
    for verdict in verdicts[1:]:
        verdict.allowed &= connect.allowed
    return verdicts


def _subscribing(user: str, channel: str, config: RealtimeConfig) -> Hook:
    return permissions.subscribe(
        channel,
        options_for(channel, config),
        user=user,
        personal=config.user_personal_channel,
        insecure=config.insecure,
    )


async def _asked(action: str, user: str, channel: str, info: Any, memory: dict[Any, Any], rule: Any) -> Verdict:
    try:
        await hooks.require(rule(), user, channel, info, memory)
    except CommandError as error:
        return Verdict(action, False, error=error.message)
    return Verdict(action, True)


# The rules, in the order in which `permissions` asks them


def _user(user: str, found: Any, config: RealtimeConfig) -> Iterator[tuple[str, str]]:
    if not user:
        yield "a visitor: `anonymous`", _yes(config.anonymous or config.insecure)
    elif isinstance(found, str):
        yield f"{user!r} is a user of Django", "no (known by tokens alone)"
    else:
        yield f"{user!r} is a user of Django", f"yes ({found})"
        yield "the user is active", _yes(bool(getattr(found, "is_active", True)))


def _name(channel: str) -> Iterator[tuple[str, str]]:
    yield "the channel's namespace", namespace_of(channel) or "none"


def _subscribe_rules(
    user: str, channel: str, options: ChannelOptions, config: RealtimeConfig, verdict: Verdict
) -> Iterator[tuple[str, str]]:
    if config.insecure:
        yield "insecure mode", "yes"
        return
    if is_private(channel):
        yield "a private channel (`$`): by subscription token alone", "no token here"
        return
    if options.subscribe_permission is not None:
        yield f"subscribe_permission: {hooks.name_of(options.subscribe_permission)}", _hook(verdict)
        return
    if USERS in channel and (options.allow_user_limited_channels or config.user_personal_channel):
        named = limited_users(channel) or ()
        yield f"the channel names its users ({', '.join(named) or 'nobody'})", _yes(user in named)
        return
    yield from _options_rules("subscribe", user, options, config, False)


def _publish_rules(
    user: str, options: ChannelOptions, config: RealtimeConfig, verdict: Verdict, subscribed: bool
) -> Iterator[tuple[str, str]]:
    if not config.insecure and options.publish_permission is not None:
        yield f"publish_permission: {hooks.name_of(options.publish_permission)}", _hook(verdict)
        return
    yield from _options_rules("publish", user, options, config, subscribed)


def _options_rules(
    action: str, user: str, options: ChannelOptions, config: RealtimeConfig, subscribed: bool
) -> Iterator[tuple[str, str]]:
    if config.insecure:
        yield "insecure mode", "yes"
        return
    for_client = f"allow_{action}_for_client"
    yield for_client, _yes(getattr(options, for_client))
    for_subscriber = f"allow_{action}_for_subscriber"
    if hasattr(options, for_subscriber):
        inside = "who may subscribe" if subscribed else "who may not subscribe"
        yield f"{for_subscriber}, of one {inside}", _yes(getattr(options, for_subscriber) and subscribed)
    if not user:
        for_anonymous = f"allow_{action}_for_anonymous"
        yield for_anonymous, _yes(getattr(options, for_anonymous))


def _hook(verdict: Verdict) -> str:
    return "yes" if verdict.allowed else f"no ({verdict.error})"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
