"""What an HTTP request is to the limits: its client's address, its user, and which policies guard it.

The user is read from the session, which views read anyway: no query for the user itself.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.urls import Resolver404, resolve

from flotilla.ratelimit.conf import get_limits_config
from flotilla.ratelimit.http.addresses import Network, client_address, is_trusted, networks
from flotilla.ratelimit.policies import HTTP, Policy
from flotilla.ratelimit.subjects import Subject


@lru_cache(maxsize=8)
def _networks(values: tuple[str, ...]) -> tuple[Network, ...]:
    return networks(values)


def trusted_proxies() -> tuple[Network, ...]:
    """The networks whose X-Forwarded-For is believed (RATE_LIMIT_TRUSTED_PROXIES); by default none."""
    return _networks(get_limits_config().trusted_proxies)


def is_trusted_proxy(address: str) -> bool:
    """Whether an address is a trusted proxy's."""
    proxies = trusted_proxies()
    return bool(proxies) and is_trusted(address, proxies)


def address_of(request: HttpRequest) -> str:
    """The address of the client behind the trusted proxies."""
    peer, forwarded = request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(peer, forwarded, trusted_proxies())


def address_of_scope(scope: Mapping[str, Any]) -> str:
    """`address_of`, for an ASGI connection: of any kind, and before there is a request."""
    client = scope.get("client")
    forwarded = b", ".join(value for name, value in scope.get("headers", ()) if name.lower() == b"x-forwarded-for")
    return client_address(client[0] if client else "", forwarded.decode("latin-1"), trusted_proxies())


def subject_of(request: HttpRequest, policies: Sequence[Policy]) -> Subject:
    """The client that asks, as far as these policies need to know it."""
    subject = _subject(request)
    if _need_user(policies):
        session = getattr(request, "session", None)
        subject.user = str(session.get(SESSION_KEY, "")) if session is not None else _user_of(request)
    return subject


async def asubject_of(request: HttpRequest, policies: Sequence[Policy]) -> Subject:
    """`subject_of` for coroutines: a session is read without blocking the loop."""
    subject = _subject(request)
    if _need_user(policies):
        session = getattr(request, "session", None)
        subject.user = str(await session.aget(SESSION_KEY, "")) if session is not None else _user_of(request)
    return subject


def _subject(request: HttpRequest) -> Subject:
    def header(name: str) -> str:
        return request.headers.get(name, "")

    return Subject(ip=address_of(request), header=header, request=request)


def _need_user(policies: Sequence[Policy]) -> bool:
    return any(policy.key in ("user", "user_or_ip") or callable(policy.key) for policy in policies)


def _user_of(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else ""


class HttpGuards:
    """Which policies guard a path. Routes are resolved only where one is named."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._guarded = [
            (policy, rest)
            for policy in policies
            for kind, _, rest in (g.partition(":") for g in policy.guards)
            if kind == HTTP
        ]
        self._by_route = any(rest and not rest.startswith("/") for _, rest in self._guarded)

    def __bool__(self) -> bool:
        return bool(self._guarded)

    def of(self, request: HttpRequest) -> list[Policy]:
        """The policies that guard this request, each once."""
        route = _route(request) if self._by_route else ""
        found: dict[str, Policy] = {}
        for policy, rest in self._guarded:
            if policy.methods and request.method not in policy.methods:
                continue
            if not rest or rest == route or (rest.startswith("/") and request.path_info.startswith(rest)):
                found[policy.name] = policy
        return list(found.values())


def _route(request: HttpRequest) -> str:
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None)).view_name or ""
    except Resolver404:
        return ""
