"""Why somebody may or may not do something in a channel: every rule that was asked, its answer, and the verdict.

The rules and the verdicts come from one evaluation by `permissions` and `hooks`, the same that clients meet; this
module only puts the questions. What a subscription token would allow is not known here: it is said where one is needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import namespace_of, options_for, presence_base
from flotilla.realtime.access.permissions import Trace
from flotilla.realtime.conf import Hook, RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError


@dataclass(slots=True)
class Verdict:
    """One action: the rules that were asked in order, each with its answer, and whether it is allowed."""

    action: str
    allowed: bool = False
    rules: Trace = field(default_factory=list)
    error: str = ""


async def explain(user: str, channel: str, config: RealtimeConfig, info: Any = None) -> list[Verdict]:
    """What a user (an id, "" for a visitor) may do in a channel, from connecting to reading its history.

    `info` is what the client would send along. Verdicts follow from each other: who may not connect may do nothing,
    and who may subscribe is taken for a subscriber.
    """
    asker = _Asker(user, channel, config, info)
    connect = await asker.connect()
    try:
        options = options_for(channel, config)
    except CommandError as error:
        return [connect, Verdict("subscribe", False, [("the channel's name", "no")], error.message)]
    base = presence_base(channel, config)
    if base is not None:
        presence = partial(permissions.presence, options_for(base, config))
        verdict = await asker.verdict("subscribe", partial(presence, subscribed=False))
        verdict.rules.insert(0, ("a map of presence: by the presence of", base))
        verdict.allowed &= connect.allowed
        return [connect, verdict]
    may_subscribe = partial(permissions.subscribe, channel, options, personal=config.user_personal_channel)
    subscribe = await asker.verdict("subscribe", may_subscribe)
    subscribe.rules.insert(0, ("the channel's namespace", namespace_of(channel) or "none"))
    verdicts = [subscribe]
    for action, rule in (
        ("publish", permissions.publish),
        *((("remove", permissions.remove),) if options.map else ()),
        ("presence", permissions.presence),
        ("history", permissions.history),
    ):
        verdicts.append(await asker.verdict(action, partial(rule, options, subscribed=subscribe.allowed)))
    for verdict in verdicts:
        verdict.allowed &= connect.allowed
    return [connect, *verdicts]


class _Asker:
    """Puts questions about one user in one channel; `memory` keeps what hooks need to be looked up once."""

    def __init__(self, user: str, channel: str, config: RealtimeConfig, info: Any) -> None:
        self._user = user
        self._channel = channel
        self._config = config
        self._info = info
        self._memory: dict[Any, Any] = {}

    async def connect(self) -> Verdict:
        """Whether the user may connect at all."""
        found = await hooks.user_of(self._user, self._memory)
        verdict = Verdict("connect", rules=list(_user(self._user, found)))
        verdict.allowed = permissions.connect(
            user=self._user,
            active=None if isinstance(found, str) else bool(getattr(found, "is_active", True)),
            anonymous=self._config.anonymous,
            insecure=self._config.insecure,
            trace=verdict.rules,
        )
        return verdict

    async def verdict(self, action: str, rule: Callable[..., Hook]) -> Verdict:
        """What a rule of `permissions` says, and the project's hook where the rule leaves it to that."""
        verdict, hook = Verdict(action), None
        try:
            hook = rule(user=self._user, insecure=self._config.insecure, trace=verdict.rules)
            await hooks.require(hook, self._user, self._channel, self._info, self._memory)
            verdict.allowed = True
        except CommandError as error:
            verdict.error = error.message
        if hook is not None:
            answer = "yes" if verdict.allowed else f"no ({verdict.error})"
            verdict.rules.append((f"{action}_permission: {hooks.name_of(hook)}", answer))
        return verdict


def _user(user: str, found: Any) -> Iterator[tuple[str, str]]:
    """Whom the id stands for; this decides nothing."""
    if user:
        known = "no (known by tokens alone)" if isinstance(found, str) else f"yes ({found})"
        yield f"{user!r} is a user of Django", known
