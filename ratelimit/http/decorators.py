"""`@ratelimit` for single views: django-ratelimit's decorator with our limiter's decision; for coroutine views as well.

The arguments (group, key, rate, method, block), the exception `Ratelimited` and `request.limited` are
django-ratelimit's. In place of its counters our limiter is called once, which is exact over all instances.
django-ratelimit still asks its cache once, which should be in the process's memory (the alias `ratelimit`, see
settings).
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.module_loading import import_string

from flotilla._extras import MissingExtra
from flotilla.ratelimit.algorithms.rates import Rate, parse_rate
from flotilla.ratelimit.decisions import Decision
from flotilla.ratelimit.http.requests import address_of
from flotilla.ratelimit.policies import OPEN, WIDER, Policy
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import SIMPLE_KEYS, Subject, by_key, identity_of, wider_identity

try:
    from django_ratelimit import ALL, UNSAFE
    from django_ratelimit.core import _method_match
    from django_ratelimit.decorators import ratelimit as counted_by_django_ratelimit
    from django_ratelimit.exceptions import Ratelimited
except ImportError as error:
    raise MissingExtra("@ratelimit", "ratelimit", error.name or str(error)) from error

View = Callable[..., Any]
_DENY = (0, 1)  # how a rate says to django-ratelimit: none in a second, so deny


def ratelimit(
    group: str | None = None,
    key: Any = None,
    rate: Any = None,
    method: Any = ALL,
    block: bool = True,
    *,
    failure: str = OPEN,
    wider: int = WIDER,
) -> Callable[[View], View]:
    """Limit a view. `rate` is ours ("100/m" strict, "100/m burst=20" GCRA), a callable or its path; None: no limit.

    `key`: ip, user, user_or_ip, header:NAME, get:NAME, post:NAME, a callable `(group, request)` or its path.
    `wider`: how many times the rate all clients of one address or IPv6 /48 have together, where the key is an address
    or something that a client sends (0: any number).
    With `block` it raises Ratelimited, which our middleware answers with 429; without, the view sees `request.limited`.
    """
    if not key:
        raise ImproperlyConfigured("@ratelimit wants a key: ip, user, user_or_ip, header:NAME, … or a callable.")
    if isinstance(rate, str) and "/" in rate:
        _parsed(rate)  # so that a mistake is seen at import, not at the first request

    def decorate(view: View) -> View:
        name = group or f"{view.__module__}.{view.__qualname__}"
        if iscoroutinefunction(view):
            return _coroutine_view(view, name, key, rate, method, block, failure, wider)

        def decide(_: str, request: HttpRequest) -> tuple[int, int] | None:
            claims = _claims(name, key, rate, failure, wider, request)
            if not claims:
                return None
            decision = get_limits().limiter.decide_sync(claims)
            _note(request, decision)
            return None if decision.allowed else _DENY

        limited: View = counted_by_django_ratelimit(
            group=name, key=lambda *_: "denied", rate=decide, method=method, block=block
        )(view)
        return limited

    return decorate


ratelimit.ALL = ALL  # type: ignore[attr-defined]
ratelimit.UNSAFE = UNSAFE  # type: ignore[attr-defined]


def _coroutine_view(
    view: View, name: str, key: Any, rate: Any, method: Any, block: bool, failure: str, wider: int
) -> View:
    """The same for a coroutine view, which django-ratelimit cannot wrap: it would not await it."""

    @wraps(view)
    async def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        over = False
        if getattr(settings, "RATELIMIT_ENABLE", True) and _method_match(request, method):
            claims = _claims(name, key, rate, failure, wider, request)
            if claims:
                decision = await get_limits().limiter.decide(claims)
                _note(request, decision)
                over = not decision.allowed
        request.limited = over or getattr(request, "limited", False)  # type: ignore[attr-defined]
        if over and block:
            raised = getattr(settings, "RATELIMIT_EXCEPTION_CLASS", Ratelimited)
            raise (import_string(raised) if isinstance(raised, str) else raised)()
        return await view(request, *args, **kwargs)

    return limited


def _claims(name: str, key: Any, rate: Any, failure: str, wider: int, request: HttpRequest) -> list[Any]:
    if isinstance(rate, str) and "/" not in rate:
        rate = import_string(rate)
    if callable(rate):
        rate = rate(name, request)
    if rate is None:
        return []
    parsed = Rate(*rate) if isinstance(rate, tuple) else _parsed(rate)
    subject = Subject(ip=address_of(request), header=lambda n: request.headers.get(n, ""), request=request)
    if key in ("user", "user_or_ip"):
        user = request.user
        subject.user = str(user.pk) if user.is_authenticated else ""
    if parsed.count < 1:
        return []
    policies = [Policy(name, (), lambda s: _identity(name, key, s), parsed, failure=failure)]
    if wider and _is_made_by_clients(key):
        policies.append(
            Policy(
                f"{name}:wider",
                (),
                lambda s: wider_identity(_identity(name, key, s), s.ip),
                parsed.widened(wider),
                failure=failure,
            )
        )
    return get_limits().claims(policies, subject)


def _is_made_by_clients(key: Any) -> bool:
    """Whether one client can have any number of identities under this key."""
    return isinstance(key, str) and (
        key in ("ip", "user_or_ip") or (key.partition(":")[0] in ("header", "get", "post") and ":" in key)
    )


@lru_cache(maxsize=256)
def _parsed(rate: str) -> Rate:
    try:
        return parse_rate(rate)
    except ValueError as error:
        raise ImproperlyConfigured(f"@ratelimit: {error}") from None


def _identity(group: str, key: Any, subject: Subject) -> str | None:
    request = subject.request
    if isinstance(key, str):
        if key in SIMPLE_KEYS or key.startswith("header:"):
            # django-ratelimit counts all who are not signed in as one user
            return identity_of(key, subject) or "nobody"
        kind, _, field = key.partition(":")
        if field and kind in ("get", "post"):
            return by_key((request.GET if kind == "get" else request.POST).get(field, ""))
        key = import_string(key)
    return by_key(str(key(group, request)))


def _note(request: HttpRequest, decision: Decision) -> None:
    known = getattr(request, "rate_limit", None)
    verdicts = [*(known.verdicts if known else ()), *decision.verdicts]
    request.rate_limit = Decision(decision.allowed, verdicts, decision.at)  # type: ignore[attr-defined]
