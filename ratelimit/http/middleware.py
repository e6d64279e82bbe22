"""Limits HTTP requests, under WSGI and ASGI alike: decides before the view, and never changes a response's content.

Must come after the session middleware in MIDDLEWARE. The decision is left on the request as `rate_limit`. A fault of
the limits themselves lets the request pass: they never cause a 5xx.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from flotilla import tracing
from flotilla.ratelimit.decisions import ALLOWED, Decision
from flotilla.ratelimit.http.requests import HttpGuards, asubject_of, subject_of
from flotilla.ratelimit.http.responses import add_headers, too_many_requests
from flotilla.ratelimit.service import Limits, get_limits

try:
    from django_ratelimit.exceptions import Ratelimited
except ImportError:  # without the extra `ratelimit` nobody raises it
    Ratelimited = ()

logger = logging.getLogger("flotilla.ratelimit")

Response = HttpResponseBase
GetResponse = Callable[[HttpRequest], Response | Awaitable[Response]]


class RateLimitMiddleware:
    """Answers 429 to what a policy denies, and says on other answers what the client has left."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._limits: Limits | None = None
        self._guards = HttpGuards(())
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response | Awaitable[Response]:
        if self._is_async:
            return self._acall(request)
        decision = self._decide(request)
        if not decision.allowed:
            return too_many_requests(request, decision)
        return _told(request, cast(Response, self.get_response(request)))

    async def _acall(self, request: HttpRequest) -> Response:
        decision = await self._adecide(request)
        if not decision.allowed:
            return too_many_requests(request, decision)
        return _told(request, await cast(Awaitable[Response], self.get_response(request)))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """A 429 for django-ratelimit's own exception, which Django would answer with 403."""
        if isinstance(exception, Ratelimited):
            return too_many_requests(request, getattr(request, "rate_limit", None) or Decision(False, []))
        return None

    def _decide(self, request: HttpRequest) -> Decision:
        try:
            limits, policies = self._guarding(request)
            decision = ALLOWED
            if policies:
                decision = limits.limiter.decide_sync(limits.claims(policies, subject_of(request, policies)))
        except Exception:
            logger.exception("a request passed without a limit")
            return ALLOWED
        _note(request, decision)
        return decision

    async def _adecide(self, request: HttpRequest) -> Decision:
        try:
            limits, policies = self._guarding(request)
            decision = ALLOWED
            if policies:
                with tracing.step("limits"):
                    subject = await asubject_of(request, policies)
                    decision = await limits.limiter.decide(limits.claims(policies, subject))
        except Exception:
            logger.exception("a request passed without a limit")
            return ALLOWED
        _note(request, decision)
        return decision

    def _guarding(self, request: HttpRequest) -> tuple[Limits, Any]:
        limits = get_limits()
        if limits is not self._limits:
            self._limits, self._guards = limits, HttpGuards(limits.policies)
        return limits, self._guards.of(request) if self._guards else ()


def _note(request: HttpRequest, decision: Decision) -> None:
    request.rate_limit = decision  # type: ignore[attr-defined]


def _told(request: HttpRequest, response: Response) -> Response:
    """With the headers of this decision and of those that decorators added to it."""
    decision: Decision | None = getattr(request, "rate_limit", None)
    if decision is not None and decision.verdicts:
        add_headers(cast(HttpResponse, response), decision)
    return response
