"""The token endpoint through Django: who gets a token, for which channel, and who does not."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.middleware.csrf import CSRF_SESSION_KEY
from django.test import AsyncClient, Client

from flotilla.ratelimit.service import reset_limits
from flotilla.realtime.access import tokens
from flotilla.realtime.conf import get_config

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/flotilla/token/"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "flotilla.ratelimit.http.middleware.RateLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


def may_have(user: Any, channel: str, info: Any) -> bool:
    """The hook of these tests: the channel ends with the user's name, as Django has it."""
    return bool(channel.endswith(f":{user.username}"))


def breaks(user: Any, channel: str, info: Any) -> bool:
    raise RuntimeError("a hook of the tests that fails")


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.ROOT_URLCONF = "flotilla.urls"
    settings.MIDDLEWARE = MIDDLEWARE
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.REALTIME_TOKEN_SECRET, settings.REALTIME_CONFIG, settings.RATE_LIMITS = "s" * 32, None, {}
    settings.REALTIME = {
        "token_ttl": "5m",
        "user_personal_channel": True,
        "namespaces": {
            "open": {"allow_subscribe_for_client": True},
            "limited": {"allow_user_limited_channels": True},
            "closed": {},
            "asked": {"subscribe_permission": f"{__name__}.may_have"},
            "plans": {"token_permission": f"{__name__}.may_have"},
            "broken": {"subscribe_permission": f"{__name__}.breaks"},
        },
    }


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", email="ann@example.com", password="secret")


@pytest.fixture
def browser(ann: User) -> Client:
    """Ann's, with the page's CSRF token at hand."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    return client


@pytest.fixture
def post(browser: Client) -> Callable[..., Any]:
    token = "c" * 32
    browser.cookies["csrftoken"] = token

    def post(url: str = URL, **options: Any) -> Any:
        return browser.post(url, headers={"X-CSRFToken": token}, **options)

    return post


def channel_of(token: str, user: str, channel: str) -> tokens.SubscriptionClaims:
    return tokens.verify_subscription(token, get_config(), time.time(), channel=channel, client="c", user=user)


def test_who_is_logged_in_gets_a_token_to_connect(post: Any, ann: User) -> None:
    """Which holds for the time of the settings, and says nothing private."""
    answer = post()
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer["Cache-Control"] == "no-store"
    claims = tokens.verify_connection(answer.json()["token"], get_config(), time.time())
    assert (claims.user, claims.info, claims.channels, claims.meta) == (str(ann.pk), None, (), None)
    assert claims.expire_at == pytest.approx(time.time() + 300, abs=30)


def test_a_visitor_gets_none(settings: Any) -> None:
    """403, which is final for SDKs; also where visitors may connect, who need no token for that."""
    settings.REALTIME = {**settings.REALTIME, "anonymous": True, "insecure": True}
    for url in (URL, f"{URL}?channel=open:a"):
        answer = Client().post(url)
        assert (answer.status_code, answer["Cache-Control"]) == (403, "no-store")
        assert answer.json() == {"error": {"code": 101, "message": "log in first"}}


def test_one_who_was_deactivated_or_logged_out_gets_none(post: Any, browser: Client, ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert post().status_code == 403
    User.objects.filter(pk=ann.pk).update(is_active=True)
    assert post().status_code == 200
    browser.logout()
    browser.cookies["csrftoken"] = "c" * 32
    assert post().status_code == 403


@pytest.mark.parametrize("middleware", [MIDDLEWARE, [name for name in MIDDLEWARE if "Csrf" not in name]])
def test_a_forged_request_gets_none(browser: Client, settings: Any, middleware: list[str]) -> None:
    """Whether or not the project has Django's middleware for it."""
    settings.MIDDLEWARE = middleware
    assert browser.post(URL).status_code == 403
    browser.cookies["csrftoken"] = "c" * 32
    assert browser.post(URL, headers={"X-CSRFToken": "d" * 32}).status_code == 403
    assert browser.post(URL, headers={"X-CSRFToken": "c" * 32}).status_code == 200
    assert browser.post(URL, {"csrfmiddlewaretoken": "c" * 32}).status_code == 200
    foreign = {"X-CSRFToken": "c" * 32, "Origin": "http://evil.example"}
    assert browser.post(URL, headers=foreign).status_code == 403


@pytest.mark.parametrize("middleware", [MIDDLEWARE, [name for name in MIDDLEWARE if "Csrf" not in name]])
async def test_a_secret_of_the_session_protects_too(ann: User, settings: Any, middleware: list[str]) -> None:
    """It is read without asking the database in the event loop."""
    settings.MIDDLEWARE, settings.CSRF_USE_SESSIONS = middleware, True
    client = AsyncClient(enforce_csrf_checks=True)
    await client.aforce_login(ann)
    assert (await client.post(URL)).status_code == 403
    session = await client.asession()
    await session.aset(CSRF_SESSION_KEY, "c" * 32)
    await session.asave()
    assert (await client.post(URL, headers={"X-CSRFToken": "c" * 32})).status_code == 200


def test_where_every_page_needs_a_login_visitors_are_refused_all_the_same(settings: Any) -> None:
    """A redirect to a page is no answer for an SDK."""
    settings.MIDDLEWARE = [*MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert Client().post(URL).status_code == 403
    assert Client().get("/api/openapi.json").status_code == 200
    assert Client().post("/api/publish").status_code == 401


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "patch"])
def test_only_post_is_answered(browser: Client, method: str) -> None:
    browser.cookies["csrftoken"] = "c" * 32
    answer = getattr(browser, method)(URL, headers={"X-CSRFToken": "c" * 32})
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def asked_for(channel: str) -> list[tuple[str, dict[str, Any]]]:
    """The ways to name a channel."""
    return [
        (f"{URL}?channel={channel.replace('#', '%23')}", {}),
        (URL, {"data": {"channel": channel}}),
        (URL, {"data": json.dumps({"channel": channel}), "content_type": "application/json"}),
    ]


@pytest.mark.parametrize("channel", ["open:a", "asked:ann", "plans:ann", "$plans:ann"])
def test_a_channel_one_may_subscribe_to_has_a_token(post: Any, ann: User, channel: str) -> None:
    for url, options in asked_for(channel):
        answer = post(url, **options)
        assert answer.status_code == 200, answer.content
        assert channel_of(answer.json()["token"], str(ann.pk), channel).expire_at is not None


def test_a_channel_that_names_its_user(post: Any, ann: User) -> None:
    for channel in (f"limited:a#{ann.pk}", f"#{ann.pk}"):
        for url, options in asked_for(channel):
            assert post(url, **options).status_code == 200
    assert post(URL, data={"channel": f"limited:a#{ann.pk}0"}).status_code == 403
    assert post(URL, data={"channel": f"#{ann.pk}0"}).status_code == 403


REFUSED = [
    ("closed:a", 403, 103),
    ("asked:bob", 403, 103),
    ("plans:bob", 403, 103),
    ("$plans:bob", 403, 103),
    ("$open:a", 403, 103),  # by token alone, and nothing says who gets one
    ("$asked:ann", 403, 103),
    ("nothing:a", 404, 102),
    ("open:\u00e9", 400, 107),
    ("open:" + "a" * 300, 400, 107),
    ("broken:a", 500, 100),
]


@pytest.mark.parametrize(("channel", "status", "code"), REFUSED)
def test_a_channel_one_may_not_subscribe_to_has_none(post: Any, channel: str, status: int, code: int) -> None:
    answer = post(URL, data={"channel": channel})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("body", ["{", "[]", '"open:a"', '{"channel":7}', '{"channel":"\\ud83d"}', "[" * 5000])
def test_a_body_that_is_none_is_a_bad_request(post: Any, body: str) -> None:
    assert post(URL, data=body, content_type="application/json").status_code == 400


@pytest.mark.parametrize("body", ["", "{}", '{"channel":""}', '{"other":1}'])
def test_a_body_without_a_channel_asks_for_a_token_to_connect(post: Any, ann: User, body: str) -> None:
    token = post(URL, data=body, content_type="application/json").json()["token"]
    assert tokens.verify_connection(token, get_config(), time.time()).user == str(ann.pk)


def test_subscription_tokens_are_signed_with_their_own_secret(post: Any, ann: User, settings: Any) -> None:
    settings.REALTIME = {**settings.REALTIME, "subscription_token_secret": "t" * 32}
    assert channel_of(post(f"{URL}?channel=open:a").json()["token"], str(ann.pk), "open:a")
    settings.REALTIME = {**settings.REALTIME, "subscription_token_secret": "s" * 32}
    assert tokens.verify_connection(post().json()["token"], get_config(), time.time()).user == str(ann.pk)


def test_a_rate_limit_on_its_route_counts(post: Any, settings: Any, redis_url: str) -> None:
    settings.RATE_LIMIT_REDIS_URL = redis_url
    settings.RATE_LIMITS = {"tokens": {"guards": "http:flotilla_token", "key": "user", "rate": "2/h"}}
    reset_limits()
    try:
        answers = [post() for _ in range(4)]
    finally:
        settings.RATE_LIMITS = {}
        reset_limits()
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert int(answers[2]["Retry-After"]) > 0


def test_without_a_secret_it_says_so(post: Any, settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET = None
    with pytest.raises(ImproperlyConfigured, match="TOKEN_SECRET"):
        post()


def test_without_sessions_it_says_so(post: Any, settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
    with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
        post()
