"""Settings of tokens and authentication: what is taken, and each fault by name, with its mend and without secrets."""

import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from flotilla.config_reader import ConfigProblems
from flotilla.realtime.conf import get_config
from tests.realtime.access.issuers import pem, private_pem

SECRET = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.REALTIME, settings.RATE_LIMITS, settings.REALTIME_CONFIG = {}, {}, None
    settings.REALTIME_API_KEYS, settings.REALTIME_ALLOWED_ORIGINS = None, None
    settings.REALTIME_TOKEN_SECRET = SECRET


def found() -> list[CheckMessage]:
    return run_checks(tags=["realtime"])


def said() -> list[tuple[str, str]]:
    messages = found()
    assert all(message.hint for message in messages), "a fault without its mend"
    return [(str(message.id).removeprefix("flotilla_realtime."), str(message.msg)) for message in messages]


@pytest.mark.parametrize(
    "name", ["token_secret", "token_public_keys", "token_audience", "token_issuer", "subscription_token_secret"]
)
def test_one_text_or_several(settings: Any, name: str) -> None:
    settings.REALTIME_TOKEN_SECRET = None
    for value, expected in (("x" * 32, "x" * 32), (["x" * 32, "y" * 32], ("x" * 32, "y" * 32)), ([], ())):
        settings.REALTIME = {name: value}
        assert getattr(get_config.read(), name) == expected
    for wrong in (7, True, {"a": "b"}, [7], None):
        settings.REALTIME = {name: wrong}
        with pytest.raises(ConfigProblems) as caught:
            get_config.read()
        assert caught.value.problems[0].path.startswith(name)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"token_audience": ["a", ""]}, "token_audience: expected no empty text"),
    ({"subscription_token_secret": ["", SECRET]}, "subscription_token_secret: expected no empty text"),
    ({"token_jwks_url": "http://issuer.example/keys"}, "token_jwks_url: expected https"),
    ({"subscription_token_jwks_url": "issuer.example"}, "subscription_token_jwks_url: expected an https:// URL"),
    ({"token_jwks_url": ["https://a.example/", "http://b.example/"]}, "token_jwks_url: expected https"),
    ({"token_jwks_url": ["https://a.example/", ""]}, "token_jwks_url: expected no empty text"),
    ({"token_user_claim": ""}, "token_user_claim: expected the name of a claim"),
    ({"token_user_claim": "exp"}, "token_user_claim: expected the name of a claim that has no other meaning"),
    ({"token_type_claim": "channel"}, "token_type_claim: expected the name of a claim that has no other meaning"),
    ({"token_user_claim": "token_type"}, "token_user_claim: expected another claim than token_type_claim"),
    ({"token_types": []}, "token_types: expected one type at least"),
    ({"token_types": "access"}, "token_types: expected"),
    ({"token_leeway": 301}, "token_leeway: expected"),
    ({"token_leeway": "soon"}, "token_leeway: expected a duration"),
    ({"token_ttl": 0}, "token_ttl: expected"),
    ({"authenticate": "nodots"}, "authenticate: expected a callable"),
    ({"authenticate": 7}, "authenticate: expected a callable"),
]


@pytest.mark.parametrize(("options", "fault"), FAULTS)
def test_a_wrong_setting_is_named(settings: Any, options: dict[str, Any], fault: str) -> None:
    settings.REALTIME = options
    assert any(id == "E001" and text.startswith(fault) for id, text in said()), found()


def test_a_public_key_among_the_secrets_is_refused(settings: Any) -> None:
    """Whoever knows it could sign."""
    settings.REALTIME_TOKEN_SECRET = [SECRET, pem("p256")]
    ((id, text),) = said()
    assert id == "E001"
    assert text.startswith("token_secret: expected a secret, got a key in PEM")
    assert pem("p256").splitlines()[1] not in str(found())


def test_each_public_key_is_read_by_the_check(settings: Any) -> None:
    settings.REALTIME = {"token_public_keys": [pem("p256"), "nothing", private_pem("p256"), pem("rsa-short")]}
    assert [id for id, _ in said()] == ["E010"] * 3
    assert [text.split(" ")[0] for _, text in said()] == [f"token_public_keys[{i}]" for i in (1, 2, 3)]
    assert "private key" in said()[1][1]
    assert private_pem("p256").splitlines()[1] not in str(found())


def test_sound_keys_have_nothing_said_of_them(settings: Any) -> None:
    settings.REALTIME = {
        "token_public_keys": pem("rsa"),
        "token_jwks_url": "https://issuer.example/keys",
        "subscription_token_public_keys": [pem("ed25519")],
    }
    assert said() == []


@pytest.mark.parametrize("options", [{"token_public_keys": pem("rsa")}, {"token_jwks_url": "https://a.example/keys"}])
def test_public_keys_are_enough(settings: Any, options: dict[str, Any]) -> None:
    """Without a secret nothing is refused, and nothing is warned of."""
    settings.REALTIME_TOKEN_SECRET = None
    settings.REALTIME = options
    assert said() == []
    settings.REALTIME = {}
    assert [id for id, _ in said()] == ["I001"]


def test_each_short_secret_is_a_warning(settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET = [SECRET, "hunter2"]
    settings.REALTIME = {"subscription_token_secret": "hunter3"}
    warnings = said()
    assert [(id, text.split(" ")[0]) for id, text in warnings] == [
        ("W002", "token_secret[1]"),
        ("W002", "subscription_token_secret"),
    ]
    assert "hunter" not in str(found())


@pytest.mark.parametrize("hook", ["no.such.hook", f"{__name__}.SECRET"])
def test_a_hook_that_cannot_be_used_is_an_error(settings: Any, hook: str) -> None:
    settings.REALTIME = {"authenticate": hook}
    ((id, text),) = said()
    assert (id, text.partition(" cannot")[0]) == ("E002", f"authenticate: the hook {hook}")


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None  # as if it were not installed
import django
from django.conf import settings
django.setup()
settings.REALTIME = {OPTIONS}
settings.REALTIME_TOKEN_SECRET = "s" * 32
from django.core.checks import run_checks
for message in run_checks(tags=["realtime"]):
    print(message.id, message.msg, message.hint)
from flotilla.realtime.access import tokens
from flotilla.realtime.conf import get_config
made = tokens.make_connection_token("7")
print(tokens.verify_connection(made, get_config(), 0.0).user)
"""


@pytest.mark.parametrize("key", ["token_public_keys", "token_jwks_url"])
def test_a_missing_cryptography_is_named_and_secrets_go_on_working(key: str) -> None:
    value = pem("p256") if key == "token_public_keys" else "https://issuer.example/keys"
    code = WITHOUT_CRYPTOGRAPHY.replace("{OPTIONS}", repr({key: value}))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *checks, user = done.stdout.splitlines()
    assert user == "7"
    (error,) = [line for line in checks if "E010" in line]
    assert f"{key}: public keys need the package cryptography" in error
    assert 'pip install "django-flotilla[jwt]"' in error
