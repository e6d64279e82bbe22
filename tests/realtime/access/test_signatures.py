"""Signatures: every algorithm with its key, no algorithm with another's, and several keys side by side."""

import json
from typing import Any

import jwt
import pytest

from flotilla.realtime.access import tokens, trust
from flotilla.realtime.access.signatures import BadSignature, payload_of
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from tests.realtime.access.issuers import KIND_OF, hs256, pem, segment, token

NOW = 1_000_000.0
SECRETS = ("the new secret, which is long enough", "the old secret, which is long enough")
ALL_KEYS = tuple(pem(kind) for kind in ("rsa", "p256", "p384", "p521", "ed25519"))


def config(**options: Any) -> RealtimeConfig:
    return RealtimeConfig(**options)


def user(given: str, options: RealtimeConfig) -> str:
    return tokens.verify_connection(given, options, NOW).user


def refused(given: str, options: RealtimeConfig) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        tokens.verify_connection(given, options, NOW)
    return int(caught.value.code)


@pytest.mark.parametrize("algorithm", KIND_OF)
def test_a_token_is_verified_with_the_public_key_of_its_issuer(algorithm: str) -> None:
    """Alone, or among others."""
    given = token(algorithm)
    for keys in (pem(KIND_OF[algorithm]), (pem(KIND_OF[algorithm]),), ALL_KEYS):
        assert user(given, config(token_public_keys=keys)) == "42"


@pytest.mark.parametrize("algorithm", KIND_OF)
def test_a_changed_token_is_refused(algorithm: str) -> None:
    head, _, signature = token(algorithm).split(".")
    forged = ".".join((head, segment(b'{"sub":"43"}'), signature))
    assert refused(forged, config(token_public_keys=ALL_KEYS)) == 3500


@pytest.mark.parametrize("algorithm", KIND_OF)
def test_a_key_of_another_kind_verifies_nothing(algorithm: str) -> None:
    others = tuple(key for key in ALL_KEYS if key != pem(KIND_OF[algorithm]))
    assert refused(token(algorithm), config(token_public_keys=others)) == 3500


def test_another_key_of_the_same_kind_verifies_nothing() -> None:
    assert refused(token("RS256", kind="rsa-other"), config(token_public_keys=ALL_KEYS)) == 3500


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
def test_a_public_key_is_no_secret(kind: str, algorithm: str) -> None:
    """The old attack: HMAC with the text of the public key, however that text is written."""
    for text in (pem(kind), pem(kind).strip(), pem(kind) + "\n", pem(kind).replace("\n", "")):
        for options in (
            config(token_public_keys=ALL_KEYS),
            config(token_public_keys=ALL_KEYS, token_secret=SECRETS),
            config(token_secret=pem(kind)),  # a mistake, which the configuration refuses
        ):
            assert refused(hs256(text, algorithm=algorithm), options) == 3500


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 7, "RS257", "ES256K", "ES521", "HS1"])
def test_no_other_algorithm_is_one(name: Any) -> None:
    options = config(token_secret=SECRETS, token_public_keys=ALL_KEYS)
    head, body = segment(json.dumps({"alg": name}).encode()), segment(b'{"sub":"42"}')
    for signature in ("", token("RS256").rpartition(".")[2], hs256(SECRETS[0]).rpartition(".")[2]):
        assert refused(f"{head}.{body}.{signature}", options) == 3500


def test_the_algorithm_of_a_token_of_a_public_key_is_not_for_its_sender_to_choose() -> None:
    """The same signature under the name of another algorithm."""
    for algorithm, other in (("RS256", "PS256"), ("RS256", "RS512"), ("ES256", "ES384"), ("RS256", "HS256")):
        _, body, signature = token(algorithm).split(".")
        head = segment(json.dumps({"alg": other, "typ": "JWT"}).encode())
        assert refused(f"{head}.{body}.{signature}", config(token_public_keys=ALL_KEYS, token_secret=SECRETS)) == 3500


def test_keys_in_a_token_are_not_looked_at() -> None:
    """`jwk`, `jku`, `x5u` and `x5c` are what the sender says of itself."""
    for header in ({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}, {"jku": "https://evil.example/keys"}, {"x5c": ["AAAA"]}):
        given = token("RS256", kind="rsa-other", **header)
        assert refused(given, config(token_public_keys=pem("rsa"))) == 3500


@pytest.mark.parametrize("kid", [7, ["a"], {"a": 1}, "k" * 513])
def test_a_strange_key_id_is_refused(kid: Any) -> None:
    head = segment(json.dumps({"alg": "RS256", "kid": kid}).encode())
    _, body, signature = token("RS256").split(".")
    with pytest.raises(BadSignature):
        payload_of(f"{head}.{body}.{signature}", trust.of_connections(config(token_public_keys=ALL_KEYS)))


def test_of_several_secrets_all_verify_and_the_first_signs(settings: Any) -> None:
    options = config(token_secret=SECRETS)
    for secret in SECRETS:
        assert user(hs256(secret), options) == "42"
    assert refused(hs256("another secret, which is long enough"), options) == 3500
    settings.REALTIME_TOKEN_SECRET = list(SECRETS)
    made = tokens.make_connection_token("7")
    assert json.loads(jwt.PyJWS().decode(made, SECRETS[0], algorithms=["HS256"]))["sub"] == "7"


def test_a_secret_is_rotated_without_refusing_anybody(settings: Any) -> None:
    """Each step is a deployment of its own: tokens of before and after it are good on both sides."""
    old, new = SECRETS[1], SECRETS[0]
    steps: list[Any] = [old, [old, new], [new, old], [new]]
    made = []
    for step in steps:
        settings.REALTIME_TOKEN_SECRET = step
        made.append(tokens.make_connection_token("7", ttl=None))
    for number, given in enumerate(made):
        for near in steps[max(0, number - 1) : number + 2]:
            secrets = near if isinstance(near, str) else tuple(near)
            assert user(given, config(token_secret=secrets)) == "7"
    assert refused(made[0], config(token_secret=new)) == 3500


def test_an_empty_secret_is_no_secret() -> None:
    for secret in ("", (), ("",), ("", SECRETS[0])):
        assert refused(hs256(""), config(token_secret=secret)) == 3500


def test_secrets_and_public_keys_stand_side_by_side() -> None:
    options = config(token_secret=SECRETS[0], token_public_keys=pem("p256"))
    assert user(hs256(SECRETS[0]), options) == user(token("ES256"), options) == "42"


def test_subscription_tokens_have_keys_of_their_own_where_any_is_set() -> None:
    claims = {"sub": "42", "channel": "room"}
    own = config(token_secret=SECRETS[0], token_public_keys=pem("rsa"), subscription_token_secret=SECRETS[1])

    def opens(given: str, options: RealtimeConfig) -> bool:
        try:
            tokens.verify_subscription(given, options, NOW, channel="room", client="c", user="42")
        except CommandError as error:
            assert error.code == 103
            return False
        return True

    assert opens(hs256(SECRETS[1], claims), own)
    assert not opens(hs256(SECRETS[0], claims), own)
    assert not opens(token("RS256", claims), own)
    assert refused(hs256(SECRETS[1]), own) == 3500
    shared = config(token_secret=SECRETS[0], token_public_keys=pem("rsa"))
    assert opens(hs256(SECRETS[0], claims), shared)
    assert opens(token("RS256", claims), shared)


def test_each_kind_of_token_is_made_with_its_own_secret_audience_and_issuer(settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET = SECRETS[0]
    settings.REALTIME = {
        "token_audience": ["a", "b"],
        "token_issuer": ["us", "them"],
        "subscription_token_secret": SECRETS[1],
        "subscription_token_audience": "c",
    }
    connection = json.loads(jwt.PyJWS().decode(tokens.make_connection_token("7"), SECRETS[0], algorithms=["HS256"]))
    assert (connection["aud"], connection["iss"]) == ("a", "us")
    made = tokens.make_subscription_token("7", "room")
    subscription = json.loads(jwt.PyJWS().decode(made, SECRETS[1], algorithms=["HS256"]))
    assert (subscription["aud"], subscription["iss"], subscription["channel"]) == ("c", "us", "room")
