"""Tokens: what is accepted, what each fault is answered with, and that payloads keep their bytes."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.access import tokens
from flotilla.realtime.access.identity import Identity, Overrides, ServerSub
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectError

SECRET = "0123456789abcdef0123456789abcdef"
CONFIG = RealtimeConfig(token_secret=SECRET)
NOW = 1_000_000.0


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: dict[str, Any] | bytes, secret: str = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jwt.PyJWS().encode(body, secret, algorithm=algorithm, headers=headers or None)


def connect(claims: dict[str, Any] | bytes, config: RealtimeConfig = CONFIG) -> tokens.ConnectionClaims:
    return tokens.verify_connection(signed(claims), config, NOW)


def subscribe(claims: dict[str, Any], config: RealtimeConfig = CONFIG) -> tokens.SubscriptionClaims:
    full = {"channel": "room", "sub": "42"} | claims
    return tokens.verify_subscription(signed(full), config, NOW, channel="room", client="c1", user="42")


def refused(call: Any, *args: Any, **kwargs: Any) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        call(*args, **kwargs)
    return int(caught.value.code)


def test_a_bare_token_is_the_anonymous_user_for_ever() -> None:
    claims = connect({})
    assert claims == tokens.ConnectionClaims("", None, None, (), None)
    assert connect({"sub": ""}).user == ""
    assert claims.identity() == Identity(via="token")


def test_a_full_connection_token_becomes_an_identity() -> None:
    claims = {"sub": "42", "exp": NOW + 9, "info": {"name": "Ann"}, "channels": ["a"], "meta": {"k": [1]}}
    expected = Identity("42", b'{"name":"Ann"}', NOW + 9, (ServerSub("a"),), None, {"k": [1]}, None, "token")
    assert connect(claims).identity() == expected


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_hmac_algorithms_are_accepted_with_any_length_of_secret(algorithm: str) -> None:
    for secret in (SECRET * 2, SECRET, "short"):
        body = segment(json.dumps({"alg": algorithm}).encode()) + "." + segment(b'{"sub":"42"}')
        digest = hmac.digest(secret.encode(), body.encode(), algorithm.replace("HS", "sha"))
        token = f"{body}.{segment(digest)}"
        assert tokens.verify_connection(token, RealtimeConfig(token_secret=secret), NOW).user == "42"


def test_no_algorithm_but_hmac_is_accepted() -> None:
    body = segment(b'{"sub":"42"}')
    for name in ("none", "None", "NONE", "", "RS256", "ES256", "EdDSA", "hs256", "HS1", None, 7):
        header = segment(json.dumps({"alg": name, "typ": "JWT"}).encode())
        signature = signed({"sub": "42"}).rpartition(".")[2]
        for token in (f"{header}.{body}.", f"{header}.{body}.{signature}"):
            assert refused(tokens.verify_connection, token, CONFIG, NOW) == 3500


def test_a_changed_token_is_refused() -> None:
    head, body, signature = signed({"sub": "42"}).split(".")
    other = segment(b'{"sub":"43"}')
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.{flipped}", f"{head}.{body}.", f"{head}.{body}"):
        assert refused(tokens.verify_connection, token, CONFIG, NOW) == 3500


def test_another_secret_is_refused() -> None:
    assert refused(tokens.verify_connection, signed({}, "x" * 32), CONFIG, NOW) == 3500


def test_without_a_secret_every_token_is_refused() -> None:
    none = RealtimeConfig()
    body = segment(b'{"alg":"HS256"}') + "." + segment(b'{"sub":"1"}')
    forged = f"{body}.{segment(hmac.digest(b'', body.encode(), 'sha256'))}"
    for token in (signed({}), forged):
        assert refused(tokens.verify_connection, token, none, NOW) == 3500
    assert refused(subscribe, {}, none) == 103


def test_a_header_that_must_be_understood_is_refused() -> None:
    unusual: list[dict[str, Any]] = [{"crit": ["exp"], "exp": 1}, {"b64": False, "crit": ["b64"]}]
    for headers in unusual:
        assert refused(tokens.verify_connection, signed({}, **headers), CONFIG, NOW) == 3500


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "é.é.é", "\ud800", "[" * 60_000, segment(b"[" * 40_000) + ".e30.e30", "=.=.="],
)
def test_garbage_is_refused(token: str) -> None:
    assert refused(tokens.verify_connection, token, CONFIG, NOW) == 3500


@given(st.text() | st.lists(st.binary().map(segment), max_size=4).map(".".join))
def test_any_text_is_refused_and_never_raises_otherwise(token: str) -> None:
    assert refused(tokens.verify_connection, token, CONFIG, NOW) == 3500


@given(st.binary())
def test_any_signed_bytes_give_claims_or_a_code(body: bytes) -> None:
    try:
        tokens.verify_connection(signed(body), CONFIG, NOW)
    except (CommandError, DisconnectError) as error:
        assert error.code in (109, 3500)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b'{"sub":"a"} x', b'{"info":"\xff"}'])
def test_a_signed_payload_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert refused(connect, body) == 3500


def test_a_signed_payload_nested_beyond_measure_is_refused() -> None:
    assert refused(connect, b'{"info":' + b"[" * 50_000 + b"]" * 50_000 + b"}") == 3500
    encoded = base64.b64encode(b"[" * 50_000 + b"]" * 50_000).decode()
    assert refused(connect, {"b64info": encoded}) == 3500


WRONG_TYPES: dict[str, list[Any]] = {
    "sub": [4.2, True, [], {}],
    "exp": ["", "soon", "1e3", "0x1", " 1", "١", "1" * 21, "inf", "nan", True, [], {}],
    "nbf": ["soon", True],
    "iat": ["soon", []],
    "expire_at": ["never", "", True, []],
    "b64info": [1, {}],
    "aud": [1, [1], {}],
    "iss": [1, []],
    "jti": [1],
    "channel": [1, []],
    "channels": ["a", {"a": {}}, [1], 1],
    "subs": [["a"], {"a": 1}, {"a": {"b64info": 1}}, {"a": {"override": 1}}, "a"],
}


@pytest.mark.parametrize(
    ("claim", "value"), [(claim, value) for claim, values in WRONG_TYPES.items() for value in values]
)
def test_a_claim_of_a_wrong_type_is_refused(claim: str, value: Any) -> None:
    assert refused(connect, {"sub": "42", claim: value}) == 3500


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("client", 1),
        ("override", []),
        ("override", {"presence": True}),
        ("override", {"presence": {"value": 1}}),
        ("override", {"presence": {}}),
        ("b64data", 1),
        ("b64data", "e30"),
        ("b64data", "!!!!"),
        ("b64info", "YQ=="),
        ("sub", 4.2),
        ("sub", True),
    ],
)
def test_a_subscription_claim_of_a_wrong_type_is_refused(claim: str, value: Any) -> None:
    assert refused(subscribe, {claim: value}) == 103


def test_null_is_an_absent_claim_and_unknown_ones_are_ignored() -> None:
    claims = dict.fromkeys([*WRONG_TYPES, "info", "meta", "client", "data"])
    assert connect(claims | {"custom": {"a": 1}}) == tokens.ConnectionClaims("", None, None, (), None)


@pytest.mark.parametrize(("claims", "code"), [({"exp": NOW}, 109), ({"exp": 0}, 109), ({"nbf": NOW + 1}, 109)])
def test_a_token_outside_its_time_is_expired(claims: dict[str, Any], code: int) -> None:
    assert refused(connect, claims) == code
    assert refused(subscribe, claims) == code


def test_a_token_within_its_time_is_accepted() -> None:
    assert connect({"exp": NOW + 0.5, "nbf": NOW}).expire_at == NOW + 0.5


def test_a_bad_signature_is_told_before_expiry() -> None:
    assert refused(tokens.verify_connection, signed({"exp": 1}, "x" * 32), CONFIG, NOW) == 3500


@pytest.mark.parametrize(("expire_at", "end"), [(NOW + 5, NOW + 5), (0, None), (-1, None), (None, NOW + 60)])
def test_expire_at_overrides_exp_as_the_end(expire_at: float | None, end: float | None) -> None:
    claims = {"exp": NOW + 60, "expire_at": expire_at}
    assert connect(claims).expire_at == end
    assert subscribe(claims).expire_at == end


def test_expire_at_does_not_make_an_expired_token_good() -> None:
    assert refused(connect, {"exp": NOW - 1, "expire_at": NOW + 60}) == 109


def test_an_expire_at_in_the_past_is_an_expired_token() -> None:
    assert refused(connect, {"expire_at": NOW - 1}) == 109


def test_a_subscription_token_does_not_connect() -> None:
    assert refused(connect, {"sub": "42", "channel": "room"}) == 3500
    assert refused(connect, {"sub": "42", "channel": ""}) == 3500


@pytest.mark.parametrize("claims", [{"channel": "other"}, {"sub": "43"}, {"sub": ""}, {"sub": None}, {"client": "c2"}])
def test_a_subscription_token_of_another_is_worth_a_disconnect(claims: dict[str, Any]) -> None:
    assert refused(subscribe, claims) == 3500


@pytest.mark.parametrize(
    "token",
    [
        "",
        "garbage",
        "a.b.c",
        "é.é.é",
        "\ud800",
        signed({"sub": "42"}),
        signed({"sub": "42", "channel": None}),
        signed({"sub": "42", "channel": ""}),
        signed({"sub": "42", "channel": "room"}, "x" * 32),
        signed({"sub": "43", "channel": "other"}, "x" * 32),
        signed({"sub": {"id": 42}, "channel": "room"}),
        signed({"sub": "42", "channel": ["room"]}),
        signed({"sub": "42", "channel": "room\ud83d"}),
        signed(b"[]"),
        signed(b"{"),
    ],
)
def test_what_is_no_subscription_token_is_a_refusal_of_the_subscription(token: str) -> None:
    """Garbage, a connection token, wrong types, another's signature: 103, and the log says why."""
    with pytest.raises(CommandError) as caught:
        tokens.verify_subscription(token, CONFIG, NOW, channel="room", client="c1", user="42")
    assert caught.value.code == 103
    assert caught.value.detail.startswith("subscription token: ")


@pytest.mark.parametrize("write", [str, lambda time: f"{time:.0f}", lambda time: f"{time:.3f}"])
def test_times_may_be_digits_in_a_string(write: Any) -> None:
    """As many libraries write them."""
    assert connect({"exp": write(NOW + 9), "iat": write(NOW), "nbf": write(NOW - 1)}).expire_at == NOW + 9
    assert subscribe({"exp": write(NOW + 9), "expire_at": write(NOW + 20)}).expire_at == NOW + 20
    assert refused(connect, {"exp": write(NOW - 1)}) == 109
    assert refused(connect, {"nbf": write(NOW + 1)}) == 109
    assert refused(connect, {"expire_at": write(NOW - 1)}) == 109
    assert connect({"exp": write(NOW + 9), "expire_at": "0"}).expire_at is None
    assert connect({"exp": write(NOW + 9), "expire_at": "-1"}).expire_at is None


@pytest.mark.parametrize("field", ["sub", "b64info", "iss", "jti", "aud"])
def test_half_a_surrogate_pair_in_a_claim_that_is_no_payload_is_refused(field: str) -> None:
    assert refused(connect, {field: "a\ud83d"}) == 3500
    assert refused(connect, {"channels": ["a\ud83d"]}) == 3500
    assert refused(connect, {"subs": {"a\ud83d": {}}}) == 3500


def test_half_a_surrogate_pair_in_a_payload_is_passed_on() -> None:
    """Byte for byte, in whatever case it was written."""
    body = rb'{"info":{"t":"x\ud83d", "u":"\uDE00\\ud83d"},"meta":{"m":"\ud83d"},"subs":{"a":{"data":"\ud83d"}}}'
    claims = connect(body)
    assert claims.info == rb'{"t":"x\ud83d","u":"\uDE00\\ud83d"}'
    assert claims.meta == {"m": "\ud83d"}
    assert claims.channels == (ServerSub("a", data=rb'"\ud83d"'),)
    encoded = base64.b64encode(rb'{"t" : "\ud83d"}').decode()
    assert subscribe({"b64info": encoded}).info == rb'{"t":"\ud83d"}'


def test_null_is_absent_within_claims_too() -> None:
    """A channel whose options are null is one without options."""
    body = b"""{"aud":null,"channels":null,"subs":{"a":null,"b":{"info":null,"b64info":null,"data":null,"b64data":null,
        "override":null},"c":{"override":{"presence":null,"join_leave":{"value":true}}}}}"""
    expected = (ServerSub("a"), ServerSub("b"), ServerSub("c", overrides=Overrides(join_leave=True)))
    assert connect(body).channels == expected


def test_a_subscription_token_fits_its_channel_user_and_client() -> None:
    assert subscribe({"client": "c1"}) == tokens.SubscriptionClaims(None, None, None, Overrides())
    anonymous = signed({"channel": "room"})
    tokens.verify_subscription(anonymous, CONFIG, NOW, channel="room", client="c1", user="")


def test_overrides_change_only_what_they_name() -> None:
    given_flags = {"presence": {"value": True}, "force_recovery": {"value": False}, "unknown": {"value": True}}
    overrides = subscribe({"override": given_flags}).overrides
    assert overrides == Overrides(presence=True, force_recovery=False)
    options = ChannelOptions(force_recovery=True, join_leave=True, history_size=3)
    assert overrides.apply(options) == ChannelOptions(presence=True, join_leave=True, history_size=3)
    assert Overrides().apply(options) is options


def test_payloads_are_compact_and_otherwise_the_bytes_they_were() -> None:
    body = '{"info": {"b" : 1.50,\n "a": 10000000000000000000001, "t":"é\\u00e9 \\n x"}}'.encode()
    assert connect(body).info == '{"b":1.50,"a":10000000000000000000001,"t":"é\\u00e9 \\n x"}'.encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_payloads_mean_what_they_meant_on_one_line(value: Any) -> None:
    info = connect(json.dumps({"info": value}, indent=3, ensure_ascii=False).encode()).info
    if value is None:
        assert info is None
    else:
        assert info is not None
        assert b"\n" not in info
        assert json.loads(info) == value


def test_base64_payloads_take_precedence_and_must_be_json() -> None:
    encoded = base64.b64encode(b'{"a": 1}').decode()
    assert connect({"info": 1, "b64info": encoded}).info == b'{"a":1}'
    assert subscribe({"data": 1, "b64data": encoded}).data == b'{"a":1}'
    for wrong in (b"{", b'"\xff"', b"1 2"):
        assert refused(connect, {"b64info": base64.b64encode(wrong).decode()}) == 3500


def test_server_side_subscriptions_come_as_list_or_map_or_both() -> None:
    sub = {"info": [1], "data": {"a": None}, "override": {"join_leave": {"value": True}}}
    expected = ServerSub("b", b"[1]", b'{"a":null}', Overrides(join_leave=True))
    assert connect({"channels": ["a", "a"]}).channels == (ServerSub("a"),)
    assert connect({"subs": {"b": sub}}).channels == (expected,)
    assert connect({"channels": ["a", "b"], "subs": {"b": sub}}).channels == (ServerSub("a"), expected)


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"aud": "me", "iss": "us"}, True),
        ({"aud": ["x", "me"], "iss": "us"}, True),
        ({"iss": "us"}, False),
        ({"aud": [], "iss": "us"}, False),
        ({"aud": "x", "iss": "us"}, False),
        ({"aud": "me"}, False),
        ({"aud": "me", "iss": "x"}, False),
    ],
)
def test_audience_and_issuer_are_checked_where_configured(claims: dict[str, Any], accepted: bool) -> None:
    config = RealtimeConfig(token_secret=SECRET, token_audience="me", token_issuer="us")
    if accepted:
        connect(claims, config)
        subscribe(claims, config)
    else:
        assert refused(connect, claims, config) == 3500
        assert refused(subscribe, claims, config) == 103
    connect(claims)


def test_the_log_detail_never_holds_the_token() -> None:
    token = signed({"sub": "42"}, "x" * 32)
    with pytest.raises(DisconnectError) as caught:
        tokens.verify_connection(token, CONFIG, NOW)
    assert caught.value.detail
    assert not any(part in str(caught.value) for part in token.split("."))


@pytest.fixture
def _configured(settings: Any) -> None:
    settings.REALTIME = {"token_audience": "me", "token_issuer": "us"}
    settings.REALTIME_CONFIG = None
    settings.REALTIME_TOKEN_SECRET = SECRET


@pytest.mark.usefixtures("_configured")
def test_made_tokens_are_accepted() -> None:
    config = RealtimeConfig(token_secret=SECRET, token_audience="me", token_issuer="us")
    now = time.time()
    token = tokens.make_connection_token(User(pk=7), ttl=60, info={"n": "Ann"}, channels=["a"], meta={"k": 1})
    claims = tokens.verify_connection(token, config, now)
    assert (claims.user, claims.info, claims.channels, claims.meta) == (
        "7",
        b'{"n":"Ann"}',
        (ServerSub("a"),),
        {"k": 1},
    )
    assert claims.expire_at == pytest.approx(now + 60, abs=2)
    token = tokens.make_subscription_token("x", "room", ttl=None, client="c1", data=[1])
    found = tokens.verify_subscription(token, config, now, channel="room", client="c1", user="x")
    assert (found.expire_at, found.data) == (None, b"[1]")


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize(
    ("user", "expected"), [(AnonymousUser(), ""), ("", ""), (None, ""), (7, "7"), (User(pk=0), "0")]
)
def test_whoever_stands_for_a_user_has_an_id(user: object, expected: str) -> None:
    config = RealtimeConfig(token_secret=SECRET)
    assert tokens.verify_connection(tokens.make_connection_token(user), config, NOW).user == expected


def test_no_token_is_made_without_a_secret(settings: Any) -> None:
    settings.REALTIME, settings.REALTIME_CONFIG, settings.REALTIME_TOKEN_SECRET = {}, None, ""
    with pytest.raises(ImproperlyConfigured, match="REALTIME_TOKEN_SECRET"):
        tokens.make_connection_token("42")


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize("claim", ["exp", "nbf", "expire_at"])
@pytest.mark.parametrize("time", [float("nan"), float("inf"), -float("inf")])
def test_no_token_is_made_with_a_time_that_is_none(claim: str, time: float) -> None:
    """JSON has no such number: the claim would be null, and the token good for ever."""
    with pytest.raises(ValueError, match="time"):
        tokens.make_connection_token("42", **{"ttl": None, claim: time})
