"""What a limited client is told over HTTP: 429 with the time to try again, and what it has left on every answer.

Headers follow draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` says what the policies are, `RateLimit` what
is left of them. The body is a problem of RFC 9457, or a page for browsers.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.http import HttpRequest, HttpResponse
from django.template import TemplateDoesNotExist
from django.template.defaultfilters import pluralize
from django.template.loader import render_to_string

from flotilla.error_pages import PROBLEM, answer, wants_html
from flotilla.ratelimit.algorithms.rates import Rate
from flotilla.ratelimit.decisions import Decision, Verdict

PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"


@dataclass(slots=True)
class Refusals:
    """Requests that this process has answered with 429 so far. Any thread may add; a reader may miss the newest."""

    total: int = 0


refusals = Refusals()


def add_headers(response: HttpResponse, decision: Decision) -> None:
    """Tell the client what it has left; shadow policies are not shown."""
    shown = [verdict for verdict in decision.verdicts if not verdict.claim.policy.shadow]
    if not shown or response.has_header("RateLimit"):
        return
    response["RateLimit-Policy"] = ", ".join(_policy(verdict) for verdict in shown)
    response["RateLimit"] = ", ".join(_standing(verdict) for verdict in shown)


def too_many_requests(request: HttpRequest, decision: Decision) -> HttpResponse:
    """The 429. `Retry-After` is whole seconds, rounded up, so that a client that waits so long is not denied again."""
    refusals.total += 1
    seconds = whole_seconds(decision.retry_after)
    response = _page(seconds) if wants_html(request.headers.get("Accept", "")) else _problem(decision.denials, seconds)
    response["Retry-After"] = str(seconds)
    add_headers(response, decision)
    return response


def whole_seconds(seconds: float) -> int:
    """At least 1."""
    return max(1, math.ceil(seconds))


def _page(seconds: int) -> HttpResponse:
    """The project's own template, if it has one."""
    try:
        own = str(render_to_string("ratelimit/429.html", {"seconds": seconds}))
    except TemplateDoesNotExist:
        headers, body = answer("text/html", 429, f"Try again in {seconds} second{pluralize(seconds)}.")
        return HttpResponse(body, status=429, headers=headers)
    return HttpResponse(own, status=429, headers={"Cache-Control": "no-store"})


def _problem(denials: Iterable[Verdict], seconds: int) -> HttpResponse:
    content = {
        "type": PROBLEM_TYPE,
        "title": "Too many requests",
        "status": 429,
        "detail": f"Try again in {seconds} s.",
        "violated-policies": [verdict.claim.policy.name for verdict in denials],
    }
    headers = {"Content-Type": PROBLEM, "Cache-Control": "no-store"}
    return HttpResponse(json.dumps(content), status=429, headers=headers)


def _policy(verdict: Verdict) -> str:
    return f"{_quoted(verdict.claim.policy.name)};q={verdict.claim.rate.quota};w={window_of(verdict.claim.rate)}"


@lru_cache(maxsize=1024)
def _quoted(policy: str) -> str:
    """A policy's name as a string of a structured field (RFC 9651): a decorator's group may hold any character."""
    name = policy.encode("ascii", "replace").decode()
    return '"' + "".join(letter for letter in name if letter.isprintable() and letter not in '"\\\\') + '"'


def window_of(rate: Rate) -> int:
    """Seconds in which the quota is given: of a strict rate its period, of GCRA the time to earn the burst back."""
    return rate.period if rate.strict else max(1, math.ceil(rate.quota * rate.period / rate.count))


def _standing(verdict: Verdict) -> str:
    until = verdict.reset if verdict.allowed else verdict.retry_after
    return f"{_quoted(verdict.claim.policy.name)};r={verdict.remaining};t={math.ceil(until)}"
