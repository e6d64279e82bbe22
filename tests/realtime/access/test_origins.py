"""Origins: who may open a connection, and whose cookie counts."""

from typing import Any

import pytest

from flotilla.realtime.access.origins import cookie_counts, cookie_refusal, origin_allowed, refusal
from flotilla.realtime.conf import RealtimeConfig

NONE = RealtimeConfig()
STAR = RealtimeConfig(allowed_origins=("*",))
LISTED = RealtimeConfig(allowed_origins=("https://app.example.com", "http://localhost:3000"))


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["me.com", ".sub.me.com", "127.0.0.1", "[::1]"]
    settings.DEBUG = False


def scope(origin: str | None, host: str | None = "me.com", scheme: str = "ws", **headers: str) -> dict[str, Any]:
    given = {"host": host, "origin": origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    said = [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value is not None]
    return {"scheme": scheme, "headers": said}


@pytest.mark.parametrize("config", [NONE, STAR, LISTED])
def test_no_origin_is_no_browser_and_is_let_through(config: RealtimeConfig) -> None:
    assert origin_allowed(scope(None), config)
    assert cookie_counts(scope(None), config)
    assert origin_allowed({}, config)


SAME = [
    ("http://me.com", "me.com", "ws"),
    ("https://me.com", "me.com", "wss"),
    ("https://me.com", "me.com:443", "wss"),
    ("https://me.com:443", "me.com", "wss"),
    ("http://me.com:80", "me.com", "ws"),
    ("http://me.com:8000", "me.com:8000", "ws"),
    ("https://me.com:8443", "me.com:8443", "wss"),
    ("HTTP://ME.com", "me.COM", "ws"),
    ("http://me.com.", "me.com.", "ws"),
    ("http://a.sub.me.com", "a.sub.me.com", "ws"),
    ("http://127.0.0.1:9000", "127.0.0.1:9000", "ws"),
    ("http://[::1]:9000", "[::1]:9000", "ws"),
    ("https://me.com", "me.com", "https"),  # some servers name it so
]


@pytest.mark.parametrize(("origin", "host", "scheme"), SAME)
@pytest.mark.parametrize("config", [NONE, STAR, LISTED])
def test_the_same_site_is_allowed_with_its_cookie(origin: str, host: str, scheme: str, config: RealtimeConfig) -> None:
    assert origin_allowed(scope(origin, host, scheme), config)
    assert cookie_counts(scope(origin, host, scheme), config)


OTHER_SCHEME = [
    ("http://me.com", "me.com", "wss"),
    ("https://me.com", "me.com", "ws"),
    ("http://me.com:80", "me.com", "wss"),
    ("http://me.com:8443", "me.com:8443", "wss"),
    ("https://me.com:8000", "me.com:8000", "ws"),
    ("http://127.0.0.1:9000", "127.0.0.1:9000", "wss"),
]


@pytest.mark.parametrize(("origin", "host", "scheme"), OTHER_SCHEME)
@pytest.mark.parametrize("config", [NONE, STAR, LISTED])
def test_a_page_of_this_host_by_another_scheme_comes_in_without_its_cookie(
    origin: str, host: str, scheme: str, config: RealtimeConfig
) -> None:
    assert origin_allowed(scope(origin, host, scheme), config)
    assert not cookie_counts(scope(origin, host, scheme), config)


def test_a_scheme_that_the_server_does_not_name_is_the_insecure_one() -> None:
    unnamed = scope("https://me.com") | {"scheme": None}
    assert not cookie_counts(unnamed, NONE)
    assert cookie_counts({"headers": scope("http://me.com")["headers"]}, NONE)


PROXIED = [
    ("https://me.com", "ws", "https", True),
    ("http://me.com", "ws", "https", False),
    ("http://me.com", "ws", "http", True),
    ("https://me.com", "ws", "http", False),
    ("https://me.com", "wss", "http", False),  # the proxy knows better how the client came
    ("https://me.com", "wss", None, True),
    ("https://me.com", "ws", None, False),
    ("https://me.com", "ws", "https, http", True),  # as Django reads it
    ("https://me.com", "ws", "HTTPS", False),
]


@pytest.mark.parametrize(("origin", "scheme", "said", "counts"), PROXIED)
def test_a_proxy_that_ends_tls_says_the_scheme(
    origin: str, scheme: str, said: str | None, counts: bool, settings: Any
) -> None:
    headers = {} if said is None else {"x_forwarded_proto": said}
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert cookie_counts(scope(origin, scheme=scheme, **headers), NONE) is counts
    settings.SECURE_PROXY_SSL_HEADER = None
    assert cookie_counts(scope(origin, scheme=scheme, **headers), NONE) is (
        origin[:5] == {"wss": "https"}.get(scheme, "http:")
    )


def test_a_header_that_only_looks_like_the_proxys_says_nothing(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    spoofed = scope("https://me.com")
    spoofed["headers"].append((b"x_forwarded_proto", b"https"))
    assert not cookie_counts(spoofed, NONE)


def test_the_host_that_a_proxy_forwards_counts_where_django_believes_it(settings: Any) -> None:
    forwarded = scope("http://me.com", "backend:8000", x_forwarded_host="me.com")
    assert not cookie_counts(forwarded, NONE)
    settings.USE_X_FORWARDED_HOST = True
    assert origin_allowed(forwarded, NONE)
    assert cookie_counts(forwarded, NONE)
    assert not cookie_counts(scope("http://evil.com", "me.com", x_forwarded_host="evil.com"), NONE)
    assert not cookie_counts(scope("http://me.com", "me.com", x_forwarded_host="me.com, me.com"), NONE)


def test_an_origin_that_may_post_may_not_read(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.other.com", "https://*.other.com"]
    assert not origin_allowed(scope("https://app.other.com"), NONE)
    assert not cookie_counts(scope("https://app.other.com"), STAR)


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
    ("http://me.com.", "me.com"),
    ("http://me.com", "me.com."),
    ("http://me.com:0", "me.com:0"),
    ("http://me.com:", "me.com"),
    ("http://@me.com", "me.com"),
    ("http://user:secret@me.com", "me.com"),
    ("http://me.com\\@evil.com", "me.com"),
    ("http://me.com#", "me.com"),
    ("http://me.com?", "me.com"),
    ("http://me\t.com", "me.com"),
    (" http://me.com", "me.com"),
    ("http://m\xfc.sub.me.com", "xn--m-xga.sub.me.com"),
    ("http://[fe80::1%25eth0]:9000", "[::1]:9000"),
    ("http://[::2]:9000", "[::1]:9000"),
    ("ftp://me.com", "me.com"),
    ("capacitor://me.com", "me.com"),
    ("file://", "me.com"),
    ("http://me.com,http://me.com", "me.com"),
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


def test_a_listed_address_may_be_written_in_any_form() -> None:
    config = RealtimeConfig(allowed_origins=("https://[2001:DB8:0:0::1]:443",))
    assert cookie_counts(scope("https://[2001:db8::1]"), config)
    assert not origin_allowed(scope("https://[2001:db8::2]"), config)


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


def test_one_origin_said_twice_is_no_better() -> None:
    twice = scope("http://me.com")
    twice["headers"].append((b"origin", b"http://me.com"))
    assert not origin_allowed(twice, NONE)
    assert not cookie_counts(twice, STAR)


def test_two_host_headers_are_nobodys() -> None:
    twice = scope("http://me.com")
    twice["headers"].append((b"host", b"me.com"))
    assert not origin_allowed(twice, NONE)
    assert not cookie_counts(twice, STAR)


TENANTS = RealtimeConfig(allowed_origins=("https://*.Example.com", "http://*.dev.test:3000", "https://*.shop.com:443"))


@pytest.mark.parametrize(
    "origin",
    [
        *("https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.com:443", "https://xn--b.example.com"),
        *("http://x.dev.test:3000", "https://a.shop.com"),
    ],
)
def test_every_name_under_a_listed_domain_is_allowed_with_its_cookie(origin: str) -> None:
    assert origin_allowed(scope(origin), TENANTS)
    assert cookie_counts(scope(origin), TENANTS)


@pytest.mark.parametrize(
    "origin",
    [
        *("https://example.com", "https://evilexample.com", "https://a.example.com.evil.com", "http://a.example.com"),
        *("https://a.example.com:8443", "http://x.dev.test", "https://.example.com", "https://a.example.com."),
        *("https://evil.com@a.example.com", "https://evil.com/.example.com", "https://evil.com#.example.com"),
        *(
            "https://*.example.com",
            "https://a..example.com",
            "app://a.example.com",
            "null",
            "https://evil.com\\.example.com",
        ),
    ],
)
def test_what_is_not_under_the_listed_domain_is_refused(origin: str) -> None:
    assert not origin_allowed(scope(origin), TENANTS)
    assert not cookie_counts(scope(origin), TENANTS)


APPS = RealtimeConfig(allowed_origins=("null", "file://", "capacitor://localhost", "app://."))


@pytest.mark.parametrize("origin", ["null", "file://", "capacitor://localhost", "app://."])
def test_a_page_without_a_site_can_be_let_in_but_never_by_cookie(origin: str) -> None:
    assert not origin_allowed(scope(origin), LISTED)
    assert origin_allowed(scope(origin), APPS)
    assert not cookie_counts(scope(origin), APPS)


@pytest.mark.parametrize("origin", ["capacitor://localhost:80", "app://x", "http://localhost", "file:///x", "NULL"])
def test_an_app_is_named_exactly(origin: str) -> None:
    assert not origin_allowed(scope(origin), APPS)


def test_the_log_says_which_origin_was_expected_and_what_was_forgotten() -> None:
    assert "'http://me.com'" in cookie_refusal(scope("https://evil.com"), NONE)
    assert "DJANGO_TLS_PROXY" not in cookie_refusal(scope("https://evil.com"), NONE)
    assert "DJANGO_TLS_PROXY" in cookie_refusal(scope("https://me.com"), NONE)
    assert cookie_refusal(scope("http://me.com"), NONE) == ""


def test_the_refusal_names_the_origin() -> None:
    assert "'http://evil.com'" in refusal(scope("http://evil.com"), NONE)
    assert refusal(scope("http://me.com"), NONE) == ""
