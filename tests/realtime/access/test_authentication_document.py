"""What docs/AUTHENTICATION.md shows works as it stands there; the page's JavaScript is tried in tests/cluster."""

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.checks import run_checks
from rest_framework.authtoken.models import Token
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from flotilla.realtime.access.authenticate import authenticate
from flotilla.realtime.access.tokens import make_connection_token, make_subscription_token
from flotilla.realtime.conf import RealtimeConfig, get_config
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from tests.cluster.support.documents import snippet, snippets
from tests.cluster.support.processes import ROOT
from tests.realtime.access.issuers import hs256, jwk, pem, published, token

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "AUTHENTICATION.md"
PYTHON = snippets(PAGE, "python")
SCOPE = {"headers": [(b"host", b"me.com")], "path": "/connection/websocket"}


def may_have_token(user: Any, channel: str, info: Any) -> bool:
    return True


@pytest.fixture(autouse=True)
def _project(settings: Any, monkeypatch: Any, tmp_path: Path) -> None:
    """The modules and the file that the page speaks of, and no settings but its own."""
    rules, models = ModuleType("app.rules"), ModuleType("app.models")
    rules.may_have_token = may_have_token  # type: ignore[attr-defined]
    models.ApiKey = Token  # type: ignore[attr-defined]
    for name, module in (("app", ModuleType("app")), ("app.rules", rules), ("app.models", models)):
        monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / "issuer.pem").write_text(pem("p256"))
    monkeypatch.chdir(tmp_path)
    settings.REALTIME, settings.REALTIME_CONFIG, settings.REALTIME_TOKEN_SECRET = {}, None, None
    settings.ALLOWED_HOSTS, settings.ROOT_URLCONF = ["me.com"], "flotilla.urls"


def use(settings: Any, holding: str) -> dict[str, Any]:
    """Settings from the page's one block that holds a text."""
    found: dict[str, Any] = {"__name__": "settings"}
    exec(snippet(PAGE, "python", holding), found)
    for name in ("FLOTILLA", "SIMPLE_JWT"):
        if name in found:
            setattr(settings, name, found[name])
    return found


async def connected(given: str = "", **command: Any) -> str:
    return (await authenticate(given, SCOPE, get_config(), time.time(), **command)).user


async def refused(given: str = "", **command: Any) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        await connected(given, **command)
    return int(caught.value.code)


@pytest.mark.parametrize("code", [code for code in PYTHON if "FLOTILLA =" in code])
def test_every_configuration_has_no_fault(settings: Any, code: str) -> None:
    found: dict[str, Any] = {}
    exec(code, found)
    settings.FLOTILLA = found["FLOTILLA"]
    problems = [one for one in run_checks(tags=["realtime", "ratelimit"]) if one.is_serious()]
    assert problems == []


@pytest.fixture
def simplejwt(settings: Any, monkeypatch: Any) -> None:
    """The page's settings of it: what it signs with it reads once, when it is imported."""
    use(settings, "SIGNING_KEY")
    backend = TokenBackend("HS256", settings.SIMPLE_JWT["SIGNING_KEY"])
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", backend)


@pytest.mark.usefixtures("simplejwt")
async def test_simplejwt() -> None:
    ann = await User.objects.acreate(username="ann")
    access = await sync_to_async(AccessToken.for_user)(ann)
    refresh = await sync_to_async(RefreshToken.for_user)(ann)
    assert await connected(str(access)) == str(ann.pk)
    assert await refused(str(refresh)) == 3500
    assert await connected(make_connection_token(ann)) == str(ann.pk)


@pytest.mark.usefixtures("simplejwt")
def test_a_token_of_ours_is_none_for_the_api_of_simplejwt() -> None:
    with pytest.raises(TokenError, match="no id"):
        AccessToken(make_connection_token("7"))  # type: ignore[arg-type]
    with pytest.raises(TokenError, match="no type"):
        AccessToken(make_connection_token("7", jti="1"))  # type: ignore[arg-type]


async def test_an_identity_provider(settings: Any) -> None:
    found = use(settings, "token_jwks_url")
    with published(jwk("rsa")) as site:
        settings.FLOTILLA = {**found["FLOTILLA"], "token_jwks_url": site.url}
        now = time.time()
        claims: dict[str, Any] = {
            "sub": "auth0|5f7c",
            "iss": "https://example.eu.auth0.com/",
            "aud": ["https://api.example.com", "https://example.eu.auth0.com/userinfo"],
            "iat": now + 5,
            "nbf": now + 5,  # their clock is off
            "exp": now + 3600,
        }
        assert await connected(token("RS256", claims, kid="rsa")) == "auth0|5f7c"
        assert await refused(token("RS256", claims | {"aud": "another"}, kid="rsa")) == 3500
        assert await refused(token("RS256", claims | {"iss": "https://evil.auth0.com/"}, kid="rsa")) == 3500
        assert await refused(token("RS256", claims, kind="rsa-other", kid="rsa")) == 3500
    assert make_subscription_token("auth0|5f7c", "room")


def providers() -> list[tuple[str, dict[str, Any]]]:
    text = (ROOT / "docs" / PAGE).read_text()
    rows = [line.split("|") for line in text.splitlines() if '| `"token_type_claim"' in line]
    return [(row[1].strip(), eval("{" + row[2].split("`")[1] + "}")) for row in rows]


async def test_the_types_of_the_providers(settings: Any) -> None:
    secret = "a random text of 32 bytes or more"
    seen = {
        "Keycloak": ({"typ": "Bearer"}, {"typ": "Refresh"}),
        "Cognito": ({"token_use": "access"}, {"token_use": "id"}),
    }
    assert {name for name, _ in providers()} == set(seen)
    for name, options in providers():
        settings.FLOTILLA = {"token_secret": secret, **options}
        good, bad = seen[name]
        assert await connected(hs256(secret, {"sub": "42"} | good)) == "42"
        assert await refused(hs256(secret, {"sub": "42"} | bad)) == 3500


async def test_a_public_key(settings: Any) -> None:
    use(settings, "token_public_keys")
    assert await connected(token("ES256")) == "42"
    assert await refused(token("RS256")) == 3500


async def test_a_class_of_rest_framework(settings: Any) -> None:
    use(settings, "rest_framework.authentication")
    ann = await User.objects.acreate(username="ann")
    key = (await Token.objects.acreate(user=ann)).key
    assert await connected(headers={"Authorization": f"Token {key}"}) == str(ann.pk)
    assert await refused(headers={"Authorization": "Token wrong"}) == 3500


async def test_a_function_of_ones_own(settings: Any) -> None:
    import msgspec

    function = use(settings, "def authenticate(request)")["authenticate"]
    settings.FLOTILLA = {"authenticate": function, "anonymous": True}
    ann = await User.objects.acreate(username="ann")
    key = (await Token.objects.acreate(user=ann)).key
    assert await connected(headers={"X-API-Key": key}) == str(ann.pk)
    assert await connected(data=msgspec.Raw(msgspec.json.encode({"key": key}))) == str(ann.pk)
    assert await refused(headers={"X-API-Key": "wrong"}) == 3507
    assert await connected() == ""


async def test_a_secret_is_changed_step_by_step(settings: Any) -> None:
    """Tokens of each step are good for those that are a step before or behind."""
    steps = [code for code in PYTHON if "the new secret" in code]
    assert len(steps) == 3
    configurations: list[dict[str, Any]] = [{"token_secret": "the old secret, 32 bytes or more"}]
    for code in steps:
        found: dict[str, Any] = {}
        exec(code, found)
        configurations.append(found["FLOTILLA"])
    for number, making in enumerate(configurations):
        settings.FLOTILLA = making
        made = make_connection_token("7")
        for beside in configurations[max(0, number - 1) : number + 2]:
            settings.FLOTILLA = beside
            assert await connected(made) == "7"


def test_every_setting_is_in_the_table() -> None:
    table = (ROOT / "docs" / PAGE).read_text().partition("## Settings")[2]
    for name in RealtimeConfig.__struct_fields__:
        if name.startswith(("token_", "authenticate")):
            assert f"`{name}`" in table, name
        elif name.startswith("subscription_token_"):
            assert f"`{name}`" in table or f"`…_{name.removeprefix('subscription_token_')}`" in table, name
