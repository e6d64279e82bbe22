"""`@ratelimit`: django-ratelimit's decorator with our decision, on plain and on coroutine views."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from django_ratelimit.exceptions import Ratelimited

from flotilla.ratelimit.http.decorators import ratelimit
from tests.ratelimit import urls
from tests.ratelimit.http.test_middleware import Asked, asked, fields
from tests.ratelimit.test_limiter import calls

__all__ = ["asked"]


@pytest.mark.parametrize("path", ["/limited", "/limited-coroutine"])
def test_a_limited_view_answers_429(asked: Asked, path: str) -> None:
    responses = [asked.get(path) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert int(responses[-1]["Retry-After"]) > 50
    (standing,) = fields(responses[0]["RateLimit"]).values()
    assert standing["r"] == 1


@pytest.mark.parametrize("path", ["/noticed", "/noticed-coroutine"])
def test_without_block_the_view_decides(asked: Asked, path: str) -> None:
    assert [asked.get(path).content for _ in range(3)] == [b"ok", b"ok", b"limited"]


def test_methods_key_functions_and_rate_functions_work_as_in_django_ratelimit(asked: Asked) -> None:
    assert [asked.get("/posts", method=m).status_code for m in ("post", "get", "post", "get")] == [200, 200, 429, 200]
    assert [asked.get(f"/called?q={q}").status_code for q in ("a", "bb", "c")] == [200, 200, 429]
    assert [asked.get("/called?vip=1").status_code for _ in range(3)] == [200] * 3


def test_decorators_stack(asked: Asked) -> None:
    answers = [asked.get("/stacked", **{"X-Api-Key": key}) for key in ("a", "a", "b", "c")]
    assert [(a.status_code, a.content) for a in answers[:3]] == [(200, b"ok"), (200, b"limited"), (200, b"ok")]
    assert answers[3].status_code == 429


def test_a_decision_of_a_decorator_is_one_round_trip_and_exact(limits_settings: Any, redis_process: Any) -> None:
    factory = RequestFactory()
    urls.limited(factory.get("/", REMOTE_ADDR="198.51.100.1"))
    redis_process.ask("CONFIG", "RESETSTAT")
    urls.limited(factory.get("/", REMOTE_ADDR="198.51.100.1"))
    for _ in range(4):
        with pytest.raises(Ratelimited):
            urls.limited(factory.get("/", REMOTE_ADDR="198.51.100.1"))
    assert calls(redis_process) == 2


def test_it_can_be_switched_off_as_in_django_ratelimit(asked: Asked, limits_settings: Any) -> None:
    limits_settings.RATELIMIT_ENABLE = False
    for path in ("/limited", "/limited-coroutine"):
        assert [asked.get(path).status_code for _ in range(4)] == [200] * 4


@pytest.mark.parametrize("rate", ["100/x", "0/m"])
def test_a_slip_in_a_rate_is_seen_at_import(rate: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="rate"):
        ratelimit(key="ip", rate=rate)


def test_a_key_is_required() -> None:
    with pytest.raises(ImproperlyConfigured, match="key"):
        ratelimit(rate="1/m")
