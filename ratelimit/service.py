"""The process's limits: policies from the settings, the limiter, personal limits, and the thread that renews those.

`get_limits()` is what the middleware, decorators and other apps use. Where another app configures limits as well, it
says so with `set_source`.
"""

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from flotilla import tracing
from flotilla.problems import Problem
from flotilla.ratelimit import keys
from flotilla.ratelimit.background import BackgroundSync
from flotilla.ratelimit.conf import get_limits_config, limits_redis_url
from flotilla.ratelimit.decisions import ALLOWED, Claim, Decision
from flotilla.ratelimit.limiter import Limiter, Patience
from flotilla.ratelimit.policies import Policy, read_policies, with_wider
from flotilla.ratelimit.subjects import Subject, identity_of, wider_identity
from flotilla.store import Shard, StoreUnavailable
from flotilla.store.conf import NO_REDIS_MEND

logger = logging.getLogger("flotilla.ratelimit")

TIMEOUT = 1.5  # seconds until a silent Redis is given up: from then on it is away
SYNC_TIMEOUT = 0.5  # of threads, which watch nothing else
PATIENCE = Patience()


class Source(NamedTuple):
    """Where policies come from. `namespaces()` None: any may be meant."""

    limits: Callable[[], object]
    namespaces: Callable[[], Collection[str] | None]


def _from_settings() -> object:
    return get_limits_config().rate_limits


_source = Source(_from_settings, lambda: None)


def set_source(source: Source) -> None:
    """Read policies from here instead of settings.RATE_LIMITS alone."""
    global _source
    _source = source
    reset_limits()


def configured() -> tuple[list[Policy], list[Problem]]:
    """The policies as configured now, and what is wrong with them."""
    return read_policies(_source.limits(), _source.namespaces())


class Limits:
    """Everything one process needs to limit. `personal` is replaced as a whole when it changed."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = with_wider(policies)
        self.by_name = {policy.name: policy for policy in self.policies}
        self.personal: Mapping[tuple[str, str], Any] = {}
        self.background = BackgroundSync(self)
        journal, url = get_limits_config().rate_limit_journal, limits_redis_url()
        if not url:
            raise ImproperlyConfigured(f"No Redis is configured. {NO_REDIS_MEND}")
        self.limiter = Limiter(
            Shard(0, url, TIMEOUT),
            Shard(0, url, SYNC_TIMEOUT),
            instances=lambda: self.background.instances,
            journal=keys.journal(journal) if journal else "",
            patience=PATIENCE,
        )

    def guarding(self, *guards: str) -> tuple[Policy, ...]:
        """The policies that guard any of these."""
        return tuple(policy for policy in self.policies if not set(guards).isdisjoint(policy.guards))

    def claims(self, policies: Sequence[Policy], subject: Subject) -> list[Claim]:
        """What to ask the limiter about a subject: the policies that concern it, each at the rate it has for it."""
        if not self.background.running:
            self.background.start()
        found = []
        for policy in policies:
            identity = self._identity(policy, subject)
            if identity is None:
                continue
            rate = policy.rate
            if self.personal:
                rate = self.personal.get((policy.name, identity), rate)
                if rate is None:
                    continue
                if policy.cost > rate.quota:
                    policy = _affordable(policy, rate.quota)
            found.append(Claim(policy, identity, rate, keys.bucket(policy.name, identity, rate)))
        return found

    def _identity(self, policy: Policy, subject: Subject) -> str | None:
        """Whom a policy counts. Who has a personal limit is known, and meets no wider bound."""
        narrow = policy.narrow
        if narrow is None:
            return identity_of(policy.key, subject)
        identity = identity_of(narrow.key, subject)
        if self.personal and (narrow.name, identity) in self.personal:
            return None
        return wider_identity(identity, subject.ip)

    async def ask(self, policies: Sequence[Policy], subject: Subject) -> Decision:
        """Decide on a WebSocket's subject. Never raises: a fault of the limits themselves is logged, and lets pass."""
        try:
            limiter = self.limiter
            with tracing.step("limits") as span:
                decision = await limiter.decide(self.claims(policies, subject), limiter.patience.websocket)
                if span is not None:
                    span.note(allowed=decision.allowed)
            return decision
        except Exception:
            logger.exception("something passed without a limit")
            return ALLOWED


def _affordable(policy: Policy, quota: int) -> Policy:
    """A personal limit below the policy's cost: one request takes all of it."""
    return replace(policy, cost=quota)


_limits: tuple[int, Limits] | None = None


def get_limits() -> Limits:
    """The process's limits, made at the first call (anew after a fork). Raises ImproperlyConfigured for faults."""
    global _limits
    if _limits is None or _limits[0] != os.getpid():
        policies, problems = configured()
        if problems:
            raise ImproperlyConfigured("\n".join(map(str, problems)))
        _limits = (os.getpid(), Limits(policies))
    return _limits[1]


def current_limits() -> Limits | None:
    """The process's limits if anything has used them."""
    return _limits[1] if _limits is not None and _limits[0] == os.getpid() else None


def reset_limits() -> None:
    """Forget what was read: the next `get_limits()` reads the settings again."""
    global _limits
    limits, _limits = current_limits(), None
    if limits is not None:
        limits.background.stop()


def announce_change() -> None:
    """Tell every process that personal limits changed or a key was reset; this one learns it at once."""
    limits = get_limits()
    try:
        limits.limiter.sync_shard.execute_sync("INCR", keys.version())
    except StoreUnavailable:
        pass  # while Redis is away everybody looks at the database by itself
    limits.background.sync_soon()


@receiver(setting_changed)
def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting.startswith(("FLOTILLA", "RATE_LIMIT", "REALTIME")):
        reset_limits()
