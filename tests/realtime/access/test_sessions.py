"""Session cookies: whose connection they make, until when, and when they do not count."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from flotilla.realtime.access.authenticate import authenticate
from flotilla.realtime.access.identity import Identity
from flotilla.realtime.access.sessions import identity_from_session
from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.conf import get_config
from flotilla.realtime.protocol.codes import CommandError, DisconnectError

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.REALTIME, settings.REALTIME_CONFIG, settings.REALTIME_ALLOWED_ORIGINS = {}, None, None
    settings.REALTIME_TOKEN_SECRET = "s" * 32
    settings.ALLOWED_HOSTS = ["me.com"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann@example.com", password="old")


@pytest.fixture
def key(user: User) -> str:
    return login(user)


def login(user: User) -> str:
    client = Client()
    client.force_login(user)
    return str(client.session.session_key)


def scope(cookie: str, origin: str | None = "http://me.com") -> dict[str, Any]:
    headers = [(b"host", b"me.com"), (b"cookie", f"csrftoken=x; sessionid={cookie}".encode("latin-1"))]
    return {"headers": headers + ([(b"origin", origin.encode())] if origin else [])}


async def test_a_session_identifies_its_user_and_says_nothing_private(user: User, key: str) -> None:
    identity = await identity_from_session(scope(key))
    assert identity is not None
    assert identity == Identity(user=str(user.pk), expire_at=identity.expire_at, session_key=key, via="session")


async def test_the_sessions_end_is_the_connections(key: str) -> None:
    end = timezone.now() + timedelta(minutes=3)
    await Session.objects.filter(session_key=key).aupdate(expire_date=end)
    identity = await identity_from_session(scope(key))
    assert identity is not None
    assert identity.expire_at == pytest.approx(end.timestamp(), abs=0.001)


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file", "signed_cookies"])
def test_every_session_engine_gives_an_end(user: User, settings: Any, engine: str, tmp_path: Any) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    identity = async_to_sync(identity_from_session)(scope(login(user)))
    assert identity is not None
    assert identity.user == str(user.pk)
    left = (identity.expire_at or 0) - timezone.now().timestamp()
    assert left == pytest.approx(settings.SESSION_COOKIE_AGE, abs=5)


async def expired(user: User, key: str) -> None:
    await Session.objects.filter(session_key=key).aupdate(expire_date=timezone.now() - timedelta(seconds=1))


async def deactivated(user: User, key: str) -> None:
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)


async def deleted(user: User, key: str) -> None:
    await user.adelete()


async def password_changed(user: User, key: str) -> None:
    user.set_password("new")
    await user.asave()


async def logged_out(user: User, key: str) -> None:
    await Session.objects.filter(session_key=key).adelete()


@pytest.mark.parametrize("event", [expired, deactivated, deleted, password_changed, logged_out])
async def test_a_session_that_lost_its_ground_is_anonymous(event: Callable[..., Any], user: User, key: str) -> None:
    await event(user, key)
    assert await identity_from_session(scope(key)) is None


async def test_an_inactive_user_is_anonymous_with_a_lenient_backend_too(user: User, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    key = await sync_to_async(login)(user)
    assert await identity_from_session(scope(key)) is not None
    await deactivated(user, key)
    assert await identity_from_session(scope(key)) is None


async def test_a_session_of_a_backend_no_longer_used_is_anonymous(key: str, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    assert await identity_from_session(scope(key)) is None


async def test_a_rotated_secret_key_keeps_the_session_and_the_session_stays_as_it_is(key: str, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "n" * 50
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    before = [session async for session in Session.objects.values()]
    identity = await identity_from_session(scope(key))
    assert identity is not None
    assert [session async for session in Session.objects.values()] == before


@pytest.mark.parametrize("cookie", ["", "x", "a" * 5000, '"', "\xff", "'; drop table", "a;b=c"])
async def test_any_other_cookie_is_anonymous(cookie: str) -> None:
    assert await identity_from_session(scope(cookie)) is None


async def test_no_cookie_asks_no_database() -> None:
    assert await identity_from_session({"headers": []}) is None


async def test_a_cookie_does_not_count_from_a_foreign_page(key: str, settings: Any) -> None:
    settings.REALTIME_ALLOWED_ORIGINS = ["*"]
    assert await identity_from_session(scope(key, "http://evil.com")) is None
    settings.REALTIME_ALLOWED_ORIGINS = ["http://friend.com"]
    assert await identity_from_session(scope(key, "http://friend.com")) is not None
    assert await identity_from_session(scope(key, None)) is not None


async def refused(token: str, handshake: dict[str, Any]) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        await authenticate(token, handshake, get_config(), 1_000.0)
    return int(caught.value.code)


async def test_a_token_decides_over_the_session(key: str) -> None:
    identity = await authenticate(make_connection_token("7"), scope(key), get_config(), 1_000.0)
    assert (identity.user, identity.via) == ("7", "token")
    assert await refused("bad", scope(key)) == 3500


async def test_a_session_is_used_without_token(user: User, key: str) -> None:
    identity = await authenticate("", scope(key), get_config(), 1_000.0)
    assert (identity.user, identity.via) == (str(user.pk), "session")


@pytest.mark.parametrize("mode", ["anonymous", "insecure"])
async def test_nobody_in_particular_connects_only_where_that_is_configured(mode: str, settings: Any) -> None:
    assert await refused("", {}) == 3501
    settings.REALTIME = {mode: True}
    assert await authenticate("", {}, get_config(), 1_000.0) == Identity()
    assert await refused("bad", {}) == 3500


async def test_a_session_store_that_fails_is_an_internal_error_and_logged(settings: Any, caplog: Any) -> None:
    settings.SESSION_ENGINE = "no.such.engine"
    assert await refused("", scope("abc")) == 100
    assert "no.such" in caplog.text or "No module named 'no'" in caplog.text
