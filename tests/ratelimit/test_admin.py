"""The admin's pages and `manage.py ratelimit`: what people see of the limits, and mend."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import Subject, digest_of

pytestmark = pytest.mark.django_db

POLICIES = {
    "users": {"guards": "http:/never/", "key": "user_or_ip", "rate": "2/m"},
    "smooth": {"guards": "ws.publish", "key": "ip", "rate": "60/m burst=4"},
    "keys": {"guards": "ws.connect", "key": "header:X-API-Key", "rate": "2/m"},
}


@pytest.fixture
def limited(limits_settings: Any) -> Any:
    limits_settings.RATE_LIMITS = POLICIES
    return limits_settings


@pytest.fixture
def admin(limited: Any) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def ask(times: int, name: str = "users", **subject: Any) -> None:
    limits = get_limits()
    for _ in range(times):
        limits.limiter.decide_sync(limits.claims([limits.by_name[name]], Subject(**subject)))


def run(*words: str) -> str:
    out = StringIO()
    call_command("ratelimit", *words, stdout=out)
    return out.getvalue()


def add(admin: Client, **fields: Any) -> Any:
    return admin.post(
        "/admin/flotilla_ratelimit/personallimit/add/", {"policy": "users", "rate": "", "note": "", **fields}
    )


def test_a_limit_is_added_in_the_admin(admin: Client) -> None:
    user = User.objects.create(username="ann")
    assert add(admin, user=user.pk, rate="5/m burst=2").status_code == 302
    assert str(PersonalLimit.objects.get()) == "users: ann, 5/m burst=2"
    assert b"5/m burst=2" in admin.get("/admin/flotilla_ratelimit/personallimit/").content


def test_an_api_key_is_kept_as_a_digest_and_never_shown(admin: Client) -> None:
    assert add(admin, policy="keys", api_key="s3cret", exempt="on").status_code == 302
    limit = PersonalLimit.objects.get()
    assert limit.key_digest == digest_of("s3cret")
    page = admin.get(f"/admin/flotilla_ratelimit/personallimit/{limit.pk}/change/")
    assert b"s3cret" not in page.content
    again = {"policy": "keys", "api_key": "", "rate": "9/m", "note": ""}
    assert admin.post(f"/admin/flotilla_ratelimit/personallimit/{limit.pk}/change/", again).status_code == 302
    limit.refresh_from_db()
    assert (limit.key_digest, limit.rate, limit.exempt) == (digest_of("s3cret"), "9/m", False)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"user": True, "rate": "many"}, "is not a rate"),
        ({"user": True}, "Give a rate, or tick exempt"),
        ({"rate": "1/m"}, "Choose one"),
        ({"user": True, "api_key": "x", "rate": "1/m"}, "does not count API keys"),
        ({"user": True, "policy": "smooth", "rate": "1/m"}, "does not count users"),
        ({"user": True, "policy": "nowhere", "rate": "1/m"}, "not one of the available choices"),
    ],
)
def test_a_limit_that_would_have_no_effect_is_refused(admin: Client, fields: dict[str, Any], complaint: str) -> None:
    if fields.get("user"):
        fields = fields | {"user": User.objects.create(username="ann").pk}
    response = add(admin, **fields)
    assert response.status_code == 200
    assert complaint in response.content.decode()
    assert not PersonalLimit.objects.exists()


def test_the_page_shows_policies_and_the_hottest_denied_keys(admin: Client) -> None:
    ask(7, user="42")
    ask(9, "smooth", ip="2001:db8::1")
    get_limits().background.sync()
    page = admin.get("/admin/flotilla_ratelimit/personallimit/hottest/").content.decode()
    assert page.index("ip:2001:db8::/64") > page.index("60/m burst=4")
    rows = [row for row in page.split("<tr>") if "user:42" in row]
    assert "<td>5</td>" in rows[0]


def test_the_page_is_for_those_who_may_view_limits(limited: Any) -> None:
    client = Client()
    assert client.get("/admin/flotilla_ratelimit/personallimit/hottest/").status_code == 302
    client.force_login(User.objects.create(username="staff", is_staff=True))
    assert client.get("/admin/flotilla_ratelimit/personallimit/hottest/").status_code == 403


def test_the_page_says_so_while_redis_is_away(admin: Client, limited: Any) -> None:
    limited.RATE_LIMIT_REDIS_URL = "unix:///nowhere/redis.sock"
    assert b"Redis is away" in admin.get("/admin/flotilla_ratelimit/personallimit/hottest/").content


def test_a_key_is_shown_and_reset(limited: Any) -> None:
    assert "2 of 2 left; the next request would be allowed" in run("show", "users", "user:id:42")
    ask(3, user="42")
    assert "0 of 2 left; the next request is denied for" in run("show", "users", "user:id:42")
    assert "again" in run("reset", "users", "user:id:42")
    get_limits().background.sync()  # as the thread does within a second
    assert "2 of 2 left" in run("show", "users", "user:id:42")
    before = get_limits().limiter.counts.outcomes["users", "allowed"]
    ask(1, user="42")
    assert get_limits().limiter.counts.outcomes["users", "allowed"] == before + 1
    ask(2, "smooth", ip="2001:db8::1")
    assert "2 of 4 left" in run("show", "smooth", "ip:2001:db8::ffff")
    ask(1, "keys", header=lambda _: "the key")
    assert "1 of 2 left" in run("show", "keys", "header:the key")


def test_a_personal_limit_is_shown(limited: Any) -> None:
    user = User.objects.create(username="ann")
    PersonalLimit.objects.create(policy="users", user=user, rate="9/m")
    assert "9/m (personal; others have 2/m)" in run("show", "users", f"user:{user.pk}")
    assert f"user: ann (id {user.pk})\nusers, user:{user.pk}: 9/m (personal" in run("show", "users", "user:ann")
    PersonalLimit.objects.update(exempt=True)
    assert "exempt" in run("show", "users", f"user:{user.pk}")
    with pytest.raises(CommandError, match=r"There is no user 'bob'.*id:bob"):
        run("reset", "users", "user:bob")


def test_policies_and_the_hottest_are_listed(limited: Any) -> None:
    assert "smooth: 60/m burst=4 per ip, guards ws.publish, cost 1, open without Redis" in run("policies")
    assert "Nothing was denied" in run("hottest")
    ask(5, user="42")
    get_limits().background.sync()
    assert run("hottest").split() == ["3", "users", "user:42"]


def test_a_rate_is_explained(limited: Any) -> None:
    assert "in any 60 s: never more than 100" in run("test", "100/m")
    assert "at most 20 + T" in run("test", "100/m burst=20")
    with pytest.raises(CommandError, match="is not a rate"):
        run("test", "100/fortnight")
    with pytest.raises(CommandError, match="configured: users, smooth, keys"):
        run("show", "nowhere", "user:1")


def test_the_command_says_so_while_redis_is_away(limited: Any) -> None:
    limited.RATE_LIMIT_REDIS_URL = "unix:///nowhere/redis.sock"
    with pytest.raises(CommandError, match="RATE_LIMIT_REDIS_URL"):
        run("show", "users", "user:id:42")
