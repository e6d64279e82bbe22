"""Which pages may read what is answered over HTTP."""

from typing import Any

import pytest

from flotilla.realtime.access.cors import cors_headers, preflight_headers, why_refused
from flotilla.realtime.conf import RealtimeConfig

NONE = RealtimeConfig()
STAR = RealtimeConfig(allowed_origins=("*",))
LISTED = RealtimeConfig(allowed_origins=("https://app.example.com", "https://*.example.org"))
ORIGIN, CREDENTIALS = b"access-control-allow-origin", b"access-control-allow-credentials"


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["me.com"]
    settings.DEBUG = False


def scope(origin: str | None = None, **headers: str) -> dict[str, Any]:
    given = {"host": "me.com", "origin": origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    said = [(name.encode(), value.encode()) for name, value in given.items() if value is not None]
    return {"scheme": "https", "method": "GET", "headers": said}


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://a.example.org"])
def test_a_listed_origin_may_read_with_credentials(origin: str) -> None:
    found = dict(cors_headers(scope(origin), LISTED))
    assert found[ORIGIN] == origin.encode()
    assert found[CREDENTIALS] == b"true"
    assert found[b"vary"] == b"origin"


def test_under_a_star_nobody_s_credentials_count() -> None:
    found = dict(cors_headers(scope("https://anybody.example"), STAR))
    assert found[ORIGIN] == b"*"
    assert CREDENTIALS not in found


def test_an_origin_that_is_not_listed_is_told_nothing() -> None:
    for config in (NONE, LISTED):
        assert ORIGIN not in dict(cors_headers(scope("https://evil.example"), config))
        assert ORIGIN not in dict(preflight_headers(scope("https://evil.example"), config, ["POST"]))
        assert why_refused(scope("https://evil.example"), config)


def test_a_preflight_is_told_methods_and_headers() -> None:
    found = dict(preflight_headers(scope("https://app.example.com"), LISTED, ["POST", "OPTIONS"]))
    assert found[b"access-control-allow-methods"] == b"POST, OPTIONS"
    assert b"content-type" in found[b"access-control-allow-headers"]


@pytest.mark.parametrize(("site", "refused"), [("cross-site", True), ("same-site", True), ("same-origin", False),
                                               ("none", False), (None, False)])  # fmt: skip
def test_a_strange_page_s_request_without_an_origin(site: str | None, refused: bool) -> None:
    """As of an image: the browser sends no Origin, and the cookie."""
    more = {"sec_fetch_site": site} if site else {}
    assert bool(why_refused(scope(**more), STAR)) is refused


def test_where_an_origin_is_said_it_alone_counts() -> None:
    assert not why_refused(scope("https://app.example.com", sec_fetch_site="cross-site"), LISTED)


@pytest.mark.parametrize("site", ["same-origin", "none", None])
@pytest.mark.parametrize(("mode", "refused"), [("navigate", True), ("no-cors", True), ("cors", False),
                                               ("same-origin", False)])  # fmt: skip
def test_a_link_or_an_image_in_a_page_of_this_site_asks_for_nothing(site: str | None, mode: str, refused: bool) -> None:
    """Anybody may have written its address: into a message, or into a mail (whose links are followed from no site)."""
    more = {"sec_fetch_site": site} if site else {}
    assert bool(why_refused(scope(**more, sec_fetch_mode=mode), NONE)) is refused


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("image/avif,image/webp,*/*;q=0.8", True),
        ("text/event-stream", False),
        ("*/*", False),
        (None, False),
    ],
)
def test_over_plain_http_what_is_accepted_tells_a_script(accepted: str | None, refused: bool) -> None:
    """Browsers say nothing else there."""
    more = {"accept": accepted} if accepted else {}
    assert bool(why_refused(scope(**more), NONE)) is refused


@pytest.mark.parametrize(("host", "refused"), [("me.com", False), ("me.com:8000", False), ("evil.example", True)])
@pytest.mark.parametrize("site", ["same-origin", None])
def test_a_name_that_somebody_points_here_is_no_site_of_ours(host: str, refused: bool, site: str | None) -> None:
    """Its pages say no Origin with a GET to what is their own site. Other methods have one."""
    more = {"sec_fetch_site": site} if site else {}
    for config in (NONE, LISTED):
        assert bool(why_refused(scope(host=host, **more), config)) is refused
        assert bool(why_refused(scope(f"http://{host}", host=host), config)) is refused
    assert not why_refused(scope(host=host, **more), STAR)  # where all pages may
