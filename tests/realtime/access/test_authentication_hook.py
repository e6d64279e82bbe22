"""A project's own authentication: what it is asked with, what its answers mean, and that its faults let nobody in.

Django REST Framework and SimpleJWT are the real ones.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from rest_framework.authentication import BasicAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from flotilla.realtime.access import authentication_hook
from flotilla.realtime.access.authenticate import authenticate
from flotilla.realtime.access.identity import Identity
from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.conf import get_config
from flotilla.realtime.protocol.codes import CommandError, DisconnectError, ErrorCode
from tests.store.redis_process import until

pytestmark = pytest.mark.django_db(transaction=True)

NOW = 1_000_000.0
TOKEN_CLASS = "rest_framework.authentication.TokenAuthentication"
JWT_CLASS = "rest_framework_simplejwt.authentication.JWTAuthentication"


@pytest.fixture(autouse=True)
def _settings(settings: Any, monkeypatch: Any) -> None:
    settings.REALTIME, settings.REALTIME_CONFIG, settings.REALTIME_ALLOWED_ORIGINS = {}, None, None
    settings.REALTIME_TOKEN_SECRET = "s" * 32
    settings.ALLOWED_HOSTS = ["me.com"]
    monkeypatch.setattr(authentication_hook, "_faults", authentication_hook._Faults())


@pytest.fixture
def use(settings: Any) -> Callable[..., None]:
    """Have a hook asked."""

    def set(hook: Any, **options: Any) -> None:
        settings.REALTIME = {"authenticate": hook, **options}

    return set


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="secret")


@pytest.fixture
def key(ann: User) -> str:
    return str(Token.objects.create(user=ann).key)


def scope(origin: str | None = None, **headers: str) -> dict[str, Any]:
    given = {"host": "me.com"} | {name.replace("_", "-"): value for name, value in headers.items()}
    given |= {"origin": origin} if origin else {}
    return {
        "type": "websocket",
        "scheme": "ws",
        "path": "/connection/websocket",
        "query_string": b"a=1&b=%C3%A9",
        "client": ["192.0.2.7", 4711],
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    }


async def ask(handshake: dict[str, Any] | None = None, token: str = "", **command: Any) -> Identity:
    data = msgspec.Raw(command["data"]) if "data" in command else msgspec.Raw(b"")
    found = handshake if handshake is not None else scope()
    return await authenticate(token, found, get_config(), NOW, data=data, headers=command.get("headers"))


async def refused(*args: Any, **kwargs: Any) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        await ask(*args, **kwargs)
    return int(caught.value.code)


# What it is asked with


async def test_the_request_is_one_of_django(use: Any) -> None:
    seen: list[Any] = []

    def hook(request: HttpRequest) -> str:
        seen.append(request)
        return "42"

    use(hook)
    await ask(scope(cookie="theme=dark", x_tenant="acme"), token="opaque", data=b'{"key":[1,"\\u00e9"]}')
    (request,) = seen
    assert isinstance(request, HttpRequest)
    assert (request.method, request.path, request.scheme) == ("GET", "/connection/websocket", "http")
    assert request.GET.dict() == {"a": "1", "b": "é"}
    assert request.COOKIES == {"theme": "dark"}
    assert (request.headers["X-Tenant"], request.META["HTTP_X_TENANT"]) == ("acme", "acme")
    assert request.META["REMOTE_ADDR"] == "192.0.2.7"
    assert request.get_host() == "me.com"
    assert request.build_absolute_uri("/x") == "http://me.com/x"
    assert (request.connect_token, request.connect_data) == ("opaque", {"key": [1, "é"]})  # type: ignore[attr-defined]
    assert request.body == b""
    assert not request.user.is_authenticated


async def test_a_secure_handshake_is_a_secure_request(use: Any) -> None:
    use(lambda request: "secure" if request.is_secure() else "plain")
    assert (await ask(scope() | {"scheme": "wss"})).user == "secure"
    assert (await ask(scope())).user == "plain"


async def test_a_handshake_may_lack_anything(use: Any) -> None:
    use(lambda request: f"{request.path} {request.connect_data} {request.META.get('REMOTE_ADDR')}")
    assert (await ask({})).user == "/ None None"
    strange = scope() | {"query_string": b"\xff&=", "client": None, "headers": [(b"x-\xff", b"\xff")]}
    assert (await ask(strange)).user == "/connection/websocket None None"


async def test_data_that_python_cannot_hold_is_a_bad_request(use: Any) -> None:
    use(lambda request: "42")
    assert await refused(data=b'"\\ud83d"') == 107


# Cookies and other pages


PAGES = [
    (None, True),
    ("http://me.com", True),
    ("http://friend.com", True),
    ("http://evil.com", False),
    ("https://me.com", False),
    ("null", False),
    ("capacitor://localhost", False),
]


@pytest.mark.parametrize(("origin", "counts"), PAGES)
async def test_what_a_browser_sends_by_itself_counts_from_our_own_pages_alone(
    use: Any, settings: Any, origin: str | None, counts: bool
) -> None:
    """The handshake of a strange page is let in under `*`; then it is nobody's until it brings what it knows."""
    settings.REALTIME_ALLOWED_ORIGINS = ["*", "http://friend.com"]
    use(lambda request: request.COOKIES.get("jwt") or request.headers.get("Authorization") or "nothing")
    assert (await ask(scope(origin, cookie="jwt=ann"))).user == ("ann" if counts else "nothing")
    assert (await ask(scope(origin, authorization="Basic YW5u"))).user == ("Basic YW5u" if counts else "nothing")
    brought = await ask(scope(origin), headers={"Authorization": "Token known"})
    assert brought.user == "Token known"


async def test_only_two_headers_of_a_command_are_taken_and_none_of_the_handshake_replaced(use: Any) -> None:
    use(lambda request: msgspec.json.encode(dict(request.headers)).decode())
    sent = {
        "AUTHORIZATION": "Token a",
        "x-api-key": "b",
        "Cookie": "sessionid=x",
        "Origin": "http://me.com",
        "Host": "evil.com",
        "X-Forwarded-For": "127.0.0.1",
        "X-Remote-User": "root",
        "Remote-User": "root",
    }
    found = msgspec.json.decode((await ask(headers=sent)).user)
    assert found == {"Host": "me.com", "Authorization": "Token a", "X-Api-Key": "b"}
    own = msgspec.json.decode((await ask(scope(authorization="Token own"), headers=sent)).user)
    assert own["Authorization"] == "Token own"


@pytest.mark.parametrize("value", ["Token \u20ac", "Token a\r\nHost: b", "Token \0"])
async def test_a_header_that_http_cannot_carry_is_left_out(use: Any, value: str) -> None:
    use(lambda request: request.headers.get("Authorization", "none"))
    assert (await ask(headers={"Authorization": value})).user == "none"


# Django REST Framework


async def test_a_token_of_rest_framework(use: Any, ann: User, key: str) -> None:
    """As a function, and with its class alone."""

    def hook(request: Any) -> Any:
        found = TokenAuthentication().authenticate(request)
        return found[0] if found else None

    for given in (hook, lambda request: TokenAuthentication().authenticate(request), TokenAuthentication, TOKEN_CLASS):
        use(given)
        by_header = await ask(scope(authorization=f"Token {key}"))
        assert (by_header.user, by_header.via) == (str(ann.pk), "hook")
        by_command = await ask(headers={"Authorization": f"Token {key}"})
        assert by_command.user == str(ann.pk)
        assert await refused(scope(authorization="Token wrong")) == 3500
        assert await refused(scope(authorization="Token")) == 3500
        assert await refused(scope()) == 3501, "the next way, and there is none"


async def test_the_token_of_the_command_can_be_rest_frameworks(use: Any, ann: User, key: str) -> None:
    """As browsers' SDKs bring it, with `token` or `getToken`."""

    def hook(request: Any) -> Any:
        if request.connect_token:
            request.META["HTTP_AUTHORIZATION"] = f"Token {request.connect_token}"
        return TokenAuthentication().authenticate(request)

    use(hook)
    assert (await ask(token=key)).user == str(ann.pk)
    assert await refused(token="wrong") == 3500


async def test_simplejwt_as_the_hook(use: Any, ann: User) -> None:
    use(JWT_CLASS)
    access = str(await sync_to_async(AccessToken.for_user)(ann))
    assert (await ask(headers={"Authorization": f"Bearer {access}"})).user == str(ann.pk)
    refresh = str(await sync_to_async(RefreshToken.for_user)(ann))
    assert await refused(headers={"Authorization": f"Bearer {refresh}"}) == 3500


async def test_an_inactive_user_of_rest_framework_is_refused(use: Any, ann: User, key: str) -> None:
    use(TOKEN_CLASS)
    await User.objects.filter(pk=ann.pk).aupdate(is_active=False)
    assert await refused(scope(authorization=f"Token {key}")) == 3500


async def test_basic_authentication(use: Any, ann: User) -> None:
    use(BasicAuthentication)
    assert (await ask(scope(authorization="Basic YW5uOnNlY3JldA=="))).user == str(ann.pk)
    assert await refused(scope(authorization="Basic YW5uOndyb25n")) == 3500


# What an answer means


async def test_an_api_key_in_the_data(use: Any) -> None:
    async def hook(request: Any) -> str | None:
        return {"k-1": "machine:1"}.get((request.connect_data or {}).get("key"))

    use(hook)
    assert (await ask(data=b'{"key":"k-1"}')).user == "machine:1"
    assert await refused(data=b'{"key":"k-2"}') == 3501


@pytest.mark.parametrize("nobody", [None, "", AnonymousUser(), (None, None), (AnonymousUser(), None)])
async def test_nobody_is_for_the_next_way(use: Any, nobody: Any) -> None:
    """Token, session, visitor."""
    use(lambda request: nobody)
    assert (await ask(token=make_connection_token("7"))).via == "token"
    assert await refused(token="bad") == 3500
    use(lambda request: nobody, anonymous=True)
    assert (await ask()).via == "anonymous"


async def test_a_user_an_id_or_the_pair_of_rest_framework(use: Any, ann: User) -> None:
    for answer, expected in (
        (ann, str(ann.pk)),
        ("ldap:ann", "ldap:ann"),
        (7, "7"),
        (0, "0"),
        ((ann, "x"), str(ann.pk)),
    ):
        use(lambda request, answer=answer: answer)
        assert (await ask()).user == expected


async def test_a_hook_decides_before_a_token(use: Any) -> None:
    use(lambda request: "by hook")
    assert (await ask(token=make_connection_token("7"))).user == "by hook"
    assert (await ask(token="bad")).user == "by hook"


async def test_an_inactive_user_is_refused_whatever_the_hook_says(use: Any, ann: User) -> None:
    ann.is_active = False
    use(lambda request: ann)
    assert await refused() == 3507


@pytest.mark.parametrize("answer", [True, 4.2, object(), [], {}, User(), (1, 2, 3), b"42"])
async def test_what_is_no_user_is_a_fault(use: Any, answer: Any) -> None:
    use(lambda request: answer)
    assert await refused() == 100


def raising(error: Exception) -> Callable[..., Any]:
    def hook(request: Any) -> Any:
        raise error

    return hook


NO = [
    (PermissionDenied("no"), 3507),
    (AuthenticationFailed("no"), 3500),
    (CommandError(ErrorCode.TOKEN_EXPIRED), 109),
    (DisconnectError(4501, "bad key"), 4501),
]


@pytest.mark.parametrize(("error", "code"), NO)
async def test_a_hook_says_no_by_raising(use: Any, caplog: Any, error: Exception, code: int) -> None:
    """Which is no fault: the log has no traceback."""
    use(raising(error))
    assert await refused() == code
    assert not [record for record in caplog.records if record.exc_info]


# Its faults


async def test_a_fault_is_an_error_to_try_again_and_one_traceback(use: Any, caplog: Any) -> None:
    """However many clients meet it. None of them comes in by the next way."""
    use(raising(RuntimeError("a fault of the tests")), anonymous=True)
    for _ in range(50):
        assert await refused(token=make_connection_token("7")) == 100
    traces = [record for record in caplog.records if record.exc_info]
    assert len(traces) == 1
    assert "a fault of the tests" in caplog.text


def test_the_next_line_counts_those_that_were_not_told(caplog: Any) -> None:
    clock = [0.0]
    faults = authentication_hook._Faults(lambda: clock[0])
    for second in (0, 1, 2, 61):
        clock[0] = float(second)
        faults.tell("app.hook", RuntimeError("x"))
    assert [record.getMessage() for record in caplog.records] == [
        "the hook authenticate (app.hook) failed",
        "the hook authenticate (app.hook) failed (and 2 times more since the last such line)",
    ]


async def test_a_hook_has_its_time(use: Any, monkeypatch: Any) -> None:
    """Sync or async, whether or not it can be cancelled: whoever connects is answered."""
    monkeypatch.setattr(authentication_hook, "HOOK_WITHIN", 0.2)
    over = threading.Event()

    async def sleeping(request: Any) -> None:
        await asyncio.sleep(60)

    async def stubborn(request: Any) -> None:
        while not over.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    def blocking(request: Any) -> None:
        over.wait(60)

    try:
        for hook in (sleeping, stubborn, blocking):
            use(hook)
            began = time.monotonic()
            assert await refused() == 100
            assert time.monotonic() - began < 30
    finally:
        over.set()
    await until(lambda: not authentication_hook._abandoned)


async def test_one_who_leaves_ends_the_hook(use: Any) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hook(request: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    use(hook)
    asking = asyncio.ensure_future(ask())
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(ended.wait(), 30)


# Its end


async def test_it_is_asked_again_after_a_while(use: Any) -> None:
    """The connection ends then, and the client comes back; not all at the same moment."""
    use(lambda request: "42")
    ends = {(await ask()).expire_at for _ in range(20)}
    assert all(end is not None and NOW + 3240 <= end <= NOW + 3600 for end in ends)
    assert len(ends) > 1
    use(lambda request: "42", authenticate_again=0)
    assert (await ask()).expire_at is None


async def test_a_hook_may_say_when_the_connection_ends(use: Any, ann: User) -> None:
    from rest_framework_simplejwt.authentication import JWTAuthentication

    def hook(request: Any) -> Any:
        found = JWTAuthentication().authenticate(request)
        if found:
            request.expire_at = found[1]["exp"]
        return found

    use(hook)
    access = await sync_to_async(AccessToken.for_user)(ann)
    assert (await ask(headers={"Authorization": f"Bearer {access}"})).expire_at == access["exp"]
