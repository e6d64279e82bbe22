"""Claims as other issuers write them: who the user is, what kind of token it is, for whom, by whom, and until when."""

from typing import Any

import pytest

from flotilla.realtime.access import tokens
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from tests.realtime.access.issuers import hs256

SECRET = "a secret of these tests, which is long enough"
NOW = 1_000_000.0


def connect(claims: dict[str, Any], **options: Any) -> tokens.ConnectionClaims:
    config = RealtimeConfig(token_secret=SECRET, **options)
    return tokens.verify_connection(hs256(SECRET, claims), config, NOW)


def subscribe(claims: dict[str, Any], **options: Any) -> tokens.SubscriptionClaims:
    config = RealtimeConfig(token_secret=SECRET, **options)
    given = hs256(SECRET, {"channel": "room"} | claims)
    return tokens.verify_subscription(given, config, NOW, channel="room", client="c", user="42")


def refused(call: Any, claims: dict[str, Any], **options: Any) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        call(claims, **options)
    return int(caught.value.code)


# The user


@pytest.mark.parametrize(("value", "user"), [("42", "42"), (42, "42"), (0, "0"), (2**70, str(2**70)), (42.0, "42")])
@pytest.mark.parametrize("claim", ["sub", "user_id", "https://example.com/user"])
def test_a_user_may_be_an_integer(claim: str, value: Any, user: str) -> None:
    assert connect({claim: value}, token_user_claim=claim).user == user


@pytest.mark.parametrize("value", [True, False, 4.2, [], ["42"], {}, {"id": 42}])
@pytest.mark.parametrize("claim", ["sub", "user_id"])
def test_nothing_else_is_a_user(claim: str, value: Any) -> None:
    assert refused(connect, {claim: value}, token_user_claim=claim) == 3500


def test_the_claim_of_the_settings_is_the_only_one_that_counts() -> None:
    assert connect({"sub": "7", "user_id": "42"}, token_user_claim="user_id").user == "42"
    assert connect({"sub": "7", "user_id": "42"}).user == "7"
    assert connect({"sub": {"strange": 1}, "user_id": "42"}, token_user_claim="user_id").user == "42"


def test_a_token_without_the_claim_of_the_settings_is_nobodys() -> None:
    """It is not a visitor's: the claim may have been misspelt. `sub` may be absent, as in the protocol."""
    assert refused(connect, {"sub": "42"}, token_user_claim="user_id") == 3500
    assert refused(connect, {"sub": "42", "user_id": None}, token_user_claim="user_id") == 3500
    assert connect({"user_id": ""}, token_user_claim="user_id").user == ""
    assert connect({}).user == ""


def test_the_claim_counts_in_subscription_tokens_too() -> None:
    subscribe({"user_id": 42}, token_user_claim="user_id")
    assert refused(subscribe, {"user_id": 43}, token_user_claim="user_id") == 3500
    assert refused(subscribe, {"sub": "42"}, token_user_claim="user_id") == 103


def test_our_own_tokens_have_the_claim_of_the_settings(settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET, settings.REALTIME = SECRET, {"token_user_claim": "user_id"}
    made = tokens.make_connection_token(42, ttl=None)
    assert (
        tokens.verify_connection(made, RealtimeConfig(token_secret=SECRET, token_user_claim="user_id"), NOW).user
        == "42"
    )
    assert tokens.verify_connection(made, RealtimeConfig(token_secret=SECRET), NOW).user == ""


# The kind of token


def test_a_token_that_is_good_for_getting_others_does_not_connect() -> None:
    assert connect({"sub": "42", "token_type": "access"}).user == "42"
    assert connect({"sub": "42"}).user == "42"
    for kind in ("refresh", "sliding", "", "Access"):
        assert refused(connect, {"sub": "42", "token_type": kind}) == 3500
        assert refused(subscribe, {"sub": "42", "token_type": kind}) == 103


def test_another_issuer_calls_it_otherwise() -> None:
    keycloak: dict[str, Any] = {"token_type_claim": "typ", "token_types": ("Bearer",)}
    assert connect({"sub": "42", "typ": "Bearer", "token_type": "refresh"}, **keycloak).user == "42"
    for kind in ("Refresh", "ID", "access"):
        assert refused(connect, {"sub": "42", "typ": kind}, **keycloak) == 3500


@pytest.mark.parametrize("kind", [1, True, ["access"], {}])
def test_a_kind_that_is_no_text_is_refused(kind: Any) -> None:
    assert refused(connect, {"sub": "42", "token_type": kind}) == 3500


# For whom, and by whom


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [("a", True), ("b", True), (["x", "b"], True), ("c", False), ([], False), (None, False), ("a ", False)],
)
def test_one_of_several_audiences_is_enough(audience: Any, accepted: bool) -> None:
    claims = {"sub": "42", "aud": audience}
    if accepted:
        assert connect(claims, token_audience=("a", "b")).user == "42"
    else:
        assert refused(connect, claims, token_audience=("a", "b")) == 3500


def test_one_of_several_issuers_is_enough() -> None:
    for issuer in ("us", "them"):
        assert connect({"sub": "42", "iss": issuer}, token_issuer=("us", "them")).user == "42"
    for other in ("u", "us/", "", None):
        assert refused(connect, {"sub": "42", "iss": other}, token_issuer=("us", "them")) == 3500


def test_subscription_tokens_have_an_audience_and_issuer_of_their_own_where_they_are_set() -> None:
    of_connections: dict[str, Any] = {"token_audience": "a", "token_issuer": "us"}
    own = of_connections | {"subscription_token_audience": "b", "subscription_token_issuer": ("them",)}
    subscribe({"sub": "42", "aud": "a", "iss": "us"}, **of_connections)
    subscribe({"sub": "42", "aud": "b", "iss": "them"}, **own)
    assert refused(subscribe, {"sub": "42", "aud": "a", "iss": "us"}, **own) == 103
    assert refused(connect, {"sub": "42", "aud": "b", "iss": "them"}, **own) == 3500


# Time


def test_clocks_may_differ_by_the_leeway() -> None:
    assert refused(connect, {"exp": NOW - 9}) == 109
    assert refused(connect, {"nbf": NOW + 9}) == 109
    claims = connect({"exp": NOW - 9, "nbf": NOW + 9}, token_leeway=10.0)
    assert claims.expire_at == NOW + 1, "not at once: the end is later by as much"
    assert refused(connect, {"exp": NOW - 10}, token_leeway=10.0) == 109
    assert refused(connect, {"nbf": NOW + 10.5}, token_leeway=10.0) == 109
    assert subscribe({"sub": "42", "exp": NOW + 5}, token_leeway=10.0).expire_at == NOW + 15


def test_a_leeway_is_not_for_the_end_that_a_token_names_itself() -> None:
    assert connect({"exp": NOW + 5, "expire_at": NOW + 7}, token_leeway=10.0).expire_at == NOW + 7
    assert refused(connect, {"exp": NOW + 5, "expire_at": NOW - 1}, token_leeway=10.0) == 109
