"""HTTP limits, under WSGI and ASGI: who is counted, what a denied client is told, and that nothing else changes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from flotilla.ratelimit.service import get_limits

MIDDLEWARE = ["flotilla.ratelimit.http.middleware.RateLimitMiddleware"]
PARTS = re.compile(r'^"([^"]+)"((?:;[a-z]+=\d+)*)$')


class AddressedClient(AsyncClient):
    """A client whose address can be chosen."""

    address = ""

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        return super()._base_scope(**request) | {"client": [self.address, 1]}


class Asked:
    """A client that asks synchronously or through ASGI; the address is what the server saw."""

    def __init__(self, is_async: bool) -> None:
        self._client: Any = AddressedClient() if is_async else Client()
        self._is_async = is_async

    def get(self, path: str, address: str = "192.0.2.1", method: str = "get", **headers: str) -> Any:
        call = getattr(self._client, method)
        if not self._is_async:
            return call(path, headers=headers, REMOTE_ADDR=address)
        self._client.address = address
        return async_to_sync(call)(path, headers=headers)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def asked(request: pytest.FixtureRequest, limits_settings: Any) -> Asked:
    limits_settings.ROOT_URLCONF = "tests.ratelimit.urls"
    limits_settings.MIDDLEWARE = MIDDLEWARE
    return Asked(request.param)


def fields(header: str) -> dict[str, dict[str, int]]:
    """A list of structured items: name → parameters."""
    found = {}
    for item in header.split(", "):
        match = PARTS.match(item)
        assert match, f"{item!r} is no item of the draft"
        found[match[1]] = {key: int(value) for key, value in (p.split("=") for p in match[2].split(";") if p)}
    return found


def test_a_denied_request_is_429_with_when_to_retry_and_a_problem(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {
        "all": {"guards": "http", "key": "ip", "rate": "2/m"},
        "smooth": {"guards": "http", "key": "ip", "rate": "60/m burst=30"},
    }
    first = asked.get("/plain")
    assert first.status_code == 200
    assert fields(first["RateLimit-Policy"]) == {"all": {"q": 2, "w": 60}, "smooth": {"q": 30, "w": 30}}
    assert fields(first["RateLimit"])["all"] == {"r": 1, "t": 61}  # the microsecond after the minute, rounded up
    assert fields(first["RateLimit"])["smooth"]["r"] == 29
    asked.get("/plain")
    denied = asked.get("/plain")
    assert denied.status_code == 429
    assert denied["Content-Type"] == "application/problem+json"
    assert 55 <= int(denied["Retry-After"]) <= 61
    assert denied["Cache-Control"] == "no-store"
    problem = json.loads(denied.content)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (problem["status"], problem["violated-policies"]) == (429, ["all"])
    assert fields(denied["RateLimit"])["all"] == {"r": 0, "t": int(denied["Retry-After"])}


def test_browsers_get_a_page(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"all": {"guards": "http", "key": "ip", "rate": "1/m"}}
    asked.get("/plain")
    denied = asked.get("/plain", Accept="text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
    assert denied.status_code == 429
    assert denied["Content-Type"].startswith("text/html")
    assert "Too many requests" in denied.content.decode()
    assert f"Try again in {denied['Retry-After']} second" in denied.content.decode()
    assert denied["Cache-Control"] == "no-store"


def test_a_project_may_have_a_page_of_its_own(asked: Asked, limits_settings: Any, tmp_path: Path) -> None:
    (tmp_path / "ratelimit").mkdir()
    (tmp_path / "ratelimit" / "429.html").write_text("come back in {{ seconds }} s")
    limits_settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [str(tmp_path)], "OPTIONS": {}}
    ]
    limits_settings.RATE_LIMITS = {"all": {"guards": "http", "key": "ip", "rate": "1/m"}}
    asked.get("/plain")
    denied = asked.get("/plain", Accept="text/html")
    assert denied.content.decode() == f"come back in {denied['Retry-After']} s"
    assert (denied.status_code, denied["Cache-Control"]) == (429, "no-store")


def test_what_no_policy_guards_is_left_alone(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"other": {"guards": "http:/other/", "key": "ip", "rate": "1/m"}}
    for _ in range(3):
        response = asked.get("/plain")
        assert response.status_code == 200
        assert not response.has_header("RateLimit")


@pytest.mark.parametrize(
    ("guard", "path", "other"),
    [
        ("http:/nested/", "/nested/inner", "/plain"),
        ("http:nested:inner", "/nested/inner", "/plain"),
        ("http:coroutine", "/coroutine", "/nested/inner"),
    ],
)
def test_a_policy_guards_its_route_or_prefix(
    asked: Asked, limits_settings: Any, guard: str, path: str, other: str
) -> None:
    limits_settings.RATE_LIMITS = {"one": {"guards": guard, "key": "ip", "rate": "1/m"}}
    assert [asked.get(path).status_code for _ in range(2)] == [200, 429]
    assert [asked.get(other).status_code for _ in range(2)] == [200, 200]
    assert asked.get("/nowhere").status_code == 404


def test_methods_narrow_a_policy(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"posts": {"guards": "http", "methods": ["POST"], "key": "ip", "rate": "1/m"}}
    assert [asked.get("/plain", method="post").status_code for _ in range(2)] == [200, 429]
    assert asked.get("/plain").status_code == 200


def test_a_streaming_response_passes_as_it_is(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"all": {"guards": "http", "key": "ip", "rate": "10/m"}}
    response = asked.get("/stream", **({"X-Async": "1"} if asked._is_async else {}))
    assert response.streaming
    assert response.has_header("RateLimit")

    async def collected() -> bytes:
        return b"".join([part async for part in response.streaming_content])

    content = async_to_sync(collected)() if asked._is_async else b"".join(response.streaming_content)
    assert content == b"one two"


def test_addresses_are_counted_apart_and_ipv6_by_64(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"all": {"guards": "http", "key": "ip", "rate": "1/m"}}
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "::ffff:192.0.2.3"]
    assert [asked.get("/plain", address).status_code for address in addresses] == [200] * 5
    again = ["192.0.2.1", "2001:db8::ffff:1", "192.0.2.3"]
    assert [asked.get("/plain", address).status_code for address in again] == [429] * 3


def test_a_forwarded_address_counts_only_behind_trusted_proxies(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"all": {"guards": "http", "key": "ip", "rate": "1/m"}}
    spoofed = [asked.get("/plain", **{"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(2)]
    assert spoofed == [200, 429]
    limits_settings.RATE_LIMIT_TRUSTED_PROXIES = ["192.0.2.0/24"]
    chain = "203.0.113.9, 198.51.100.{n}, 192.0.2.7"
    seen = [asked.get("/plain", **{"X-Forwarded-For": chain.format(n=n)}).status_code for n in (1, 2, 1)]
    assert seen == [200, 200, 429], "the address right of what the client wrote must count"


def test_a_header_is_a_key_and_leaving_it_out_no_way_around(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"keys": {"guards": "http", "key": "header:X-Api-Key", "rate": "1/m"}}
    answers = [asked.get("/plain", **{"X-Api-Key": key}).status_code for key in ("a", "b", "a")]
    assert answers == [200, 200, 429]
    assert [asked.get("/plain").status_code for _ in range(2)] == [200, 429]


def test_a_callable_may_exempt(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"agents": {"guards": "http", "key": "tests.ratelimit.urls.by_agent", "rate": "1/m"}}
    answers = [asked.get("/plain", **{"User-Agent": agent}).status_code for agent in ("a", "b", "a")]
    assert answers == [200, 200, 429]
    assert [asked.get("/plain").status_code for _ in range(3)] == [200] * 3


def test_a_fault_of_a_key_function_is_logged_and_lets_pass(
    asked: Asked, limits_settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    limits_settings.RATE_LIMITS = {"bad": {"guards": "http", "key": "tests.ratelimit.urls.broken_key", "rate": "1/m"}}
    assert [asked.get("/plain").status_code for _ in range(2)] == [200, 200]
    assert "passed without a limit" in caplog.text


def test_a_shadow_is_invisible(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"try": {"guards": "http", "key": "ip", "rate": "1/m", "shadow": True}}
    responses = [asked.get("/plain") for _ in range(3)]
    assert [response.status_code for response in responses] == [200] * 3
    assert not any(response.has_header("RateLimit") for response in responses)
    assert get_limits().limiter.counts.outcomes["try", "shadow"] == 2


def test_a_request_for_several_policies_costs_one_round_trip(
    asked: Asked, limits_settings: Any, redis_process: Any
) -> None:
    from tests.ratelimit.test_limiter import calls

    limits_settings.RATE_LIMITS = {f"p{n}": {"guards": "http", "key": "ip", "rate": f"{n}0/m"} for n in range(1, 5)}
    asked.get("/plain")
    redis_process.ask("CONFIG", "RESETSTAT")
    for _ in range(5):
        asked.get("/plain")
    stats = redis_process.ask("INFO", "commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 5
    assert asked._is_async or calls(redis_process) == 5  # there each request has a loop of its own, so it connects
