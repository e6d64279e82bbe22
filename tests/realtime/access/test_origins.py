"""Origins: who may open a connection, and whose cookie counts."""

from typing import Any

import pytest

from realtime.access.origins import cookie_counts, origin_allowed, refusal
from realtime.conf import RealtimeConfig

NONE = RealtimeConfig()
STAR = RealtimeConfig(allowed_origins=("*",))
LISTED = RealtimeConfig(allowed_origins=("https://app.example.com", "http://localhost:3000"))


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["me.com", ".sub.me.com", "127.0.0.1", "[::1]"]
    settings.DEBUG = False


def scope(origin: str | None, host: str | None = "me.com") -> dict[str, Any]:
    headers = [(b"host", host.encode())] if host is not None else []
    return {"headers": headers + ([(b"origin", origin.encode("latin-1"))] if origin is not None else [])}


@pytest.mark.parametrize("config", [NONE, STAR, LISTED])
def test_no_origin_is_no_browser_and_is_let_through(config: RealtimeConfig) -> None:
    assert origin_allowed(scope(None), config)
    assert cookie_counts(scope(None), config)
    assert origin_allowed({}, config)


SAME = [
    ("http://me.com", "me.com"),
    ("https://me.com", "me.com"),
    ("https://me.com", "me.com:443"),
    ("http://me.com:80", "me.com"),
    ("http://me.com:8000", "me.com:8000"),
    ("HTTP://ME.com", "me.COM"),
    ("http://a.sub.me.com", "a.sub.me.com"),
    ("http://127.0.0.1:9000", "127.0.0.1:9000"),
    ("http://[::1]:9000", "[::1]:9000"),
]


@pytest.mark.parametrize(("origin", "host"), SAME)
@pytest.mark.parametrize("config", [NONE, STAR, LISTED])
def test_the_same_host_is_allowed_with_its_cookie(origin: str, host: str, config: RealtimeConfig) -> None:
    assert origin_allowed(scope(origin, host), config)
    assert cookie_counts(scope(origin, host), config)


STRANGE = [
    ("http://evil.com", "me.com"),
    ("http://me.com.evil.com", "me.com"),
    ("http://me.com:8001", "me.com:8000"),
    ("http://me.com:8000", "me.com"),
    ("https://me.com:80", "me.com"),
    ("null", "me.com"),
    ("", "me.com"),
    ("me.com", "me.com"),
    ("//me.com", "me.com"),
    ("http://", ""),
    ("http://evil.com@me.com", "me.com"),
    ("http://me.com/", "me.com/"),
    ("http://me.com:99999", "me.com:99999"),
    ("http://[", "["),
    ("http://\xe9.com", "me.com"),
    ("http://me.com", None),
]


@pytest.mark.parametrize(("origin", "host"), STRANGE)
def test_any_other_origin_is_refused_and_its_cookie_never_counts(origin: str, host: str | None) -> None:
    assert not origin_allowed(scope(origin, host), NONE)
    assert not origin_allowed(scope(origin, host), LISTED)
    assert origin_allowed(scope(origin, host), STAR)
    assert not cookie_counts(scope(origin, host), STAR)


def test_a_rebound_name_is_not_the_same_host() -> None:
    assert not origin_allowed(scope("http://evil.com", "evil.com"), NONE)
    assert not cookie_counts(scope("http://evil.com", "evil.com"), STAR)


def test_debug_without_allowed_hosts_knows_the_local_ones(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = [], True
    assert origin_allowed(scope("http://localhost:8000", "localhost:8000"), NONE)
    assert not origin_allowed(scope("http://me.com", "me.com"), NONE)


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://app.example.com:443", "http://localhost:3000"])
def test_a_listed_origin_is_allowed_with_its_cookie(origin: str) -> None:
    assert origin_allowed(scope(origin), LISTED)
    assert cookie_counts(scope(origin), LISTED)


@pytest.mark.parametrize("origin", ["http://app.example.com", "https://example.com", "https://x.app.example.com"])
def test_the_scheme_and_the_whole_host_must_fit_the_list(origin: str) -> None:
    assert not origin_allowed(scope(origin), LISTED)


def test_an_origin_listed_beside_the_star_keeps_its_cookie() -> None:
    both = RealtimeConfig(allowed_origins=("*", "https://app.example.com"))
    assert cookie_counts(scope("https://app.example.com"), both)
    assert not cookie_counts(scope("https://evil.com"), both)


def test_two_origin_headers_are_refused() -> None:
    twice = scope("http://me.com")
    twice["headers"].append((b"origin", b"http://evil.com"))
    assert not origin_allowed(twice, NONE)


def test_the_refusal_names_the_origin() -> None:
    assert "'http://evil.com'" in refusal(scope("http://evil.com"), NONE)
    assert refusal(scope("http://me.com"), NONE) == ""
