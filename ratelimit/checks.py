"""System checks of the limits: every fault of a policy by name, and what to do about it."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver

from flotilla.config_reader import ConfigProblems
from flotilla.ratelimit.conf import get_limits_config
from flotilla.ratelimit.http.addresses import networks
from flotilla.ratelimit.policies import HTTP, Policy
from flotilla.ratelimit.service import configured

MIDDLEWARE = "flotilla.ratelimit.http.middleware.RateLimitMiddleware"


@register("ratelimit")
def check_limits(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Everything that can be said of the limits without starting."""
    try:
        policies, problems = configured()
    except ImproperlyConfigured:  # the configuration they are a part of cannot be read: its own checks say why
        return []
    faults: list[CheckMessage] = [Error(p.fault, hint=p.hint, id="flotilla_ratelimit.E001") for p in problems]
    return [*faults, *_routes(policies), *_proxies(), *_middleware(policies)]


def _routes(policies: Sequence[Policy]) -> Iterator[CheckMessage]:
    known: set[str] | None = None
    for policy in policies:
        for route in route_names(policy):
            known = set(_names(get_resolver())) if known is None else known
            if route not in known:
                message = f"rate_limits.{policy.name}.guards: there is no route named {route!r}."
                hint = "Write a route's name with its namespaces, as http:admin:index, or a prefix, as http:/admin/."
                yield Error(message, hint=hint, id="flotilla_ratelimit.E002")


def route_names(policy: Policy) -> list[str]:
    """The names of routes that a policy guards."""
    pairs = [guard.partition(":")[::2] for guard in policy.guards]
    return [rest for kind, rest in pairs if kind == HTTP and rest and not rest.startswith("/")]


def _names(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield prefix + pattern.name
        else:
            yield from _names(pattern, f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix)


def _proxies() -> Iterator[CheckMessage]:
    try:
        networks(get_limits_config().trusted_proxies)
    except ConfigProblems:  # it cannot be read: the checks of the configuration say why
        return
    except ValueError as error:
        hint = 'Write a list of addresses or networks, as ["10.0.0.0/8", "2001:db8::1"].'
        yield Error(f"trusted_proxies: {error}.", hint=hint, id="flotilla_ratelimit.E003")


def _middleware(policies: Sequence[Policy]) -> Iterator[CheckMessage]:
    guarded = [p.name for p in policies if any(guard.partition(":")[0] == HTTP for guard in p.guards)]
    if guarded and MIDDLEWARE not in settings.MIDDLEWARE:
        message = f"MIDDLEWARE has no {MIDDLEWARE}: {', '.join(guarded)} limit nothing."
        yield Error(message, hint="Add it behind the session middleware.", id="flotilla_ratelimit.E004")
