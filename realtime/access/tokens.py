"""Connection and subscription tokens: JWTs of our own or of other issuers, whose claims say who may do what.

`signatures` says whether a token is of somebody we trust, and without a key no token is; this module reads the claims.
They are typed strictly, except that times may be digits in a string, and the user an integer; a null is an absent
claim. Which claim names the user is a setting, and so is which kinds of token an issuer's may be (`token_types`): a
token that is only good for getting another one must not connect. `info` and `data` stay the JSON bytes they were,
compacted so that no newline can break a frame. What is wrong with a token goes to the log through the error's
`detail`, never to the client; the token itself goes nowhere.
"""

import base64
import binascii
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from django.core.exceptions import ImproperlyConfigured

from flotilla.realtime.access import signatures, trust
from flotilla.realtime.access.identity import NO_OVERRIDES, Identity, Overrides, ServerSub
from flotilla.realtime.access.signatures import BadSignature
from flotilla.realtime.access.trust import Trust
from flotilla.realtime.conf import RealtimeConfig, get_config
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode


@dataclass(frozen=True, slots=True)
class ConnectionClaims:
    """A verified connection token. `expire_at` is the connection's end (Unix seconds), None for never."""

    user: str
    expire_at: float | None
    info: bytes | None
    channels: tuple[ServerSub, ...]
    meta: Any

    def identity(self) -> Identity:
        """The identity this token gives."""
        return Identity(self.user, self.info, self.expire_at, self.channels, meta=self.meta, via="token")


@dataclass(frozen=True, slots=True)
class SubscriptionClaims:
    """A verified subscription token. `expire_at` is the subscription's end (Unix seconds), None for never."""

    expire_at: float | None
    info: bytes | None
    data: bytes | None
    overrides: Overrides


async def averify_connection(token: str, config: RealtimeConfig, now: float) -> ConnectionClaims:
    """`verify_connection`, where the token's key may have to be fetched first.

    Raises CommandError 100, too: the issuer's keys cannot be had for now.
    """
    await signatures.fetch_key(token, trust.of_connections(config))
    return verify_connection(token, config, now)


def verify_connection(token: str, config: RealtimeConfig, now: float) -> ConnectionClaims:
    """Verify a connection token at Unix time `now`, with the keys at hand.

    Raises DisconnectError 3500, or CommandError 109 when expired.
    """
    claims = _verified(token, _Connection, config, trust.of_connections(config), now)
    if claims.channel is not None:
        raise BadToken("a subscription token was used to connect")
    named = {channel: ServerSub(channel) for channel in claims.channels or ()}
    named |= {channel: _server_sub(channel, sub) for channel, sub in (claims.subs or {}).items()}
    info = _payload(claims.info, claims.b64info)
    return ConnectionClaims(_user(claims), _end(claims, config, now), info, tuple(named.values()), claims.meta)


async def averify_subscription(
    token: str, config: RealtimeConfig, now: float, *, channel: str, client: str, user: str
) -> SubscriptionClaims:
    """`verify_subscription`, where the token's key may have to be fetched first; then also CommandError 100."""
    await signatures.fetch_key(token, trust.of_subscriptions(config))
    return verify_subscription(token, config, now, channel=channel, client=client, user=user)


def verify_subscription(
    token: str, config: RealtimeConfig, now: float, *, channel: str, client: str, user: str
) -> SubscriptionClaims:
    """Verify a subscription token for this channel, connection and user at Unix time `now`, with the keys at hand.

    Raises CommandError 103 where it is no subscription token of ours, 109 when it has expired, and DisconnectError 3500
    where it is one for another channel, connection or user.
    """
    try:
        return _subscription(token, config, now, channel=channel, client=client, user=user)
    except BadToken as error:
        raise CommandError(ErrorCode.PERMISSION_DENIED, detail=f"subscription token: {error.detail}") from error


def _subscription(
    token: str, config: RealtimeConfig, now: float, *, channel: str, client: str, user: str
) -> SubscriptionClaims:
    claims = _verified(token, _Subscription, config, trust.of_subscriptions(config), now)
    if not claims.channel:
        raise BadToken("it names no channel, as a connection token")
    for name, value, expected in (
        ("channel", claims.channel, channel),
        ("client", claims.client or client, client),
        (config.token_user_claim, _user(claims), user),
    ):
        if value != expected:
            detail = f"the token's {name} is {value!r}, not {expected!r}"
            raise DisconnectError(DisconnectCode.INVALID_TOKEN, detail=detail)
    return SubscriptionClaims(
        _end(claims, config, now),
        _payload(claims.info, claims.b64info),
        _payload(claims.data, claims.b64data),
        _overrides(claims.override),
    )


def make_connection_token(
    user: object, *, ttl: float | None = 3600, info: Any = None, channels: Sequence[str] = (), **claims: Any
) -> str:
    """A connection token for a Django user or a user id ("" and AnonymousUser: anonymous).

    It is signed with HS256 and the first of the secrets. `ttl` is seconds, None for no expiry. Other claims (`subs`,
    `meta`, `expire_at`, …) are passed on as given. Raises ImproperlyConfigured without a token secret, ValueError for
    times that are not finite.
    """
    if channels:
        claims["channels"] = list(channels)
    config = get_config()
    return _signed(user, ttl, info, claims, config, trust.of_connections(config))


def make_subscription_token(
    user: object, channel: str, *, ttl: float | None = 3600, info: Any = None, **claims: Any
) -> str:
    """A subscription token for one user and channel; otherwise as `make_connection_token`."""
    config = get_config()
    return _signed(user, ttl, info, claims | {"channel": channel}, config, trust.of_subscriptions(config))


class _Flag(msgspec.Struct):
    value: bool


class _Override(msgspec.Struct):
    presence: _Flag | None = None
    join_leave: _Flag | None = None
    force_push_join_leave: _Flag | None = None
    force_recovery: _Flag | None = None
    force_positioning: _Flag | None = None


class _Sub(msgspec.Struct):
    info: msgspec.Raw = msgspec.Raw()
    b64info: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    b64data: str | None = None
    override: _Override | None = None


Time = float | str | None
"""Unix seconds; also digits in a string, as many libraries write it."""

TIMES = ("exp", "nbf", "expire_at")
SUBJECT = "sub"
_TIME = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


class BadToken(DisconnectError):
    """This is no token of ours: we did not sign it, or we sign nothing of this shape."""

    def __init__(self, detail: str) -> None:
        super().__init__(DisconnectCode.INVALID_TOKEN, detail=detail)


class _Claims(msgspec.Struct):
    """What both kinds have. A null is an absent claim. The user and the type are under names of the settings."""

    user: str | int | None = None
    token_type: str | None = None
    exp: Time = None
    nbf: Time = None
    iat: Time = None
    expire_at: Time = None
    info: msgspec.Raw = msgspec.Raw()
    b64info: str | None = None
    aud: str | list[str] | None = None
    iss: str | None = None
    jti: str | None = None


class _Connection(_Claims):
    channel: str | None = None
    channels: list[str] | None = None
    subs: dict[str, _Sub] | None = None
    meta: Any = None


class _Subscription(_Claims):
    channel: str | None = None
    client: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    b64data: str | None = None
    override: _Override | None = None


Kind = TypeVar("Kind", bound=_Claims)


@cache
def _named(kind: type[Kind], user_claim: str, type_claim: str) -> type[Kind]:
    """The claims with those two under the names that an issuer gives them."""
    renamed: list[Any] = [
        ("user", str | int | None, msgspec.field(default=None, name=user_claim)),
        ("token_type", str | None, msgspec.field(default=None, name=type_claim)),
    ]
    return cast("type[Kind]", msgspec.defstruct(kind.__name__, renamed, bases=(kind,)))


def _verified(token: str, kind: type[Kind], config: RealtimeConfig, trusted: Trust, now: float) -> Kind:
    """Signature, types, audience, issuer and type of token, then time."""
    if not trusted.has_keys:
        raise BadToken("no token secret and no public key is configured")
    try:
        payload = signatures.payload_of(token, trusted)
        payload.decode()  # Raw members are passed on unparsed: if they were not UTF-8, they would break frames
        named: type[Kind] = _named(kind, config.token_user_claim, config.token_type_claim)
        claims, unfit = foreign.read(payload, named)
    except (BadSignature, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadToken(str(error)) from error
    if unfit - {"meta"}:
        raise BadToken(f"half a surrogate pair in {', '.join(sorted(unfit))}")
    _check_recipient(claims, trusted)
    if claims.token_type is not None and claims.token_type not in config.token_types:
        raise BadToken(f"its type is {claims.token_type[:40]!r}, not one of {', '.join(config.token_types)}")
    if claims.user is None and config.token_user_claim != SUBJECT:
        raise BadToken(f"it has no claim {config.token_user_claim!r}, which names the user")
    exp, nbf, _ = _seconds(claims.exp), _seconds(claims.nbf), _seconds(claims.iat)
    leeway = config.token_leeway
    if (exp is not None and now >= exp + leeway) or (nbf is not None and now < nbf - leeway):
        raise CommandError(ErrorCode.TOKEN_EXPIRED)
    return claims


def _user(claims: _Claims) -> str:
    """The user's id as text, "" for a visitor."""
    return "" if claims.user is None else str(claims.user)


def _seconds(time: Time) -> float | None:
    if not isinstance(time, str):
        return time
    if _TIME.fullmatch(time) is None:
        raise BadToken("a time is neither a number nor digits")
    return float(time)


def _check_recipient(claims: _Claims, trusted: Trust) -> None:
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
    if trusted.audiences and set(trusted.audiences).isdisjoint(audience):
        raise BadToken(f"the audience is {claims.aud!r}, not {' or '.join(trusted.audiences)}")
    if trusted.issuers and claims.iss not in trusted.issuers:
        raise BadToken(f"the issuer is {claims.iss!r}, not {' or '.join(trusted.issuers)}")


def _end(claims: _Claims, config: RealtimeConfig, now: float) -> float | None:
    """When the connection or subscription ends: `expire_at` (0 or less: never), else `exp` with the leeway.

    An `expire_at` already past counts as an expired token, so that the client fetches a new one.
    """
    expire_at = _seconds(claims.expire_at)
    if expire_at is None:
        exp = _seconds(claims.exp)
        return None if exp is None else exp + config.token_leeway
    if expire_at <= 0:
        return None
    if expire_at <= now:
        raise CommandError(ErrorCode.TOKEN_EXPIRED)
    return expire_at


def _payload(raw: msgspec.Raw, encoded: str | None) -> bytes | None:
    """Compact JSON of a claim given as JSON or, taking precedence, as base64 of JSON; None when absent or null."""
    try:
        text = base64.b64decode(encoded, validate=True) if encoded else bytes(raw)
        text.decode()  # as above
        compact = foreign.one_line(text) if text else b""
    except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadToken(f"info or data is not JSON: {error}") from error
    return None if compact in (b"", b"null") else compact


def _server_sub(channel: str, sub: _Sub) -> ServerSub:
    info, data = _payload(sub.info, sub.b64info), _payload(sub.data, sub.b64data)
    return ServerSub(channel, info, data, _overrides(sub.override))


def _overrides(given: _Override | None) -> Overrides:
    if given is None:
        return NO_OVERRIDES
    flags: dict[str, _Flag | None] = msgspec.structs.asdict(given)
    return Overrides(**{name: flag.value for name, flag in flags.items() if flag is not None})


def _signed(
    user: object, ttl: float | None, info: Any, claims: dict[str, Any], config: RealtimeConfig, trusted: Trust
) -> str:
    if not trusted.secrets:
        raise ImproperlyConfigured("REALTIME_TOKEN_SECRET is not set: tokens can be verified at most, and not made.")
    now = int(time.time())
    payload: dict[str, Any] = {config.token_user_claim: user_id(user), "iat": now}
    payload |= {"exp": now + int(ttl)} if ttl is not None else {}
    payload |= {"info": info} if info is not None else {}
    payload |= {"aud": trusted.audiences[0]} if trusted.audiences else {}
    payload |= {"iss": trusted.issuers[0]} if trusted.issuers else {}
    payload |= claims
    if not all(math.isfinite(payload[name]) for name in TIMES if isinstance(payload.get(name), float)):
        raise ValueError("a time that is no number would be left out of the token, which would then never expire")
    return signatures.sign(foreign.write(payload), trusted)


def user_id(user: object) -> str:
    """The id of a Django user, or of what stands for one: its primary key as text, "" for the anonymous user."""
    key = getattr(user, "pk", None) if hasattr(user, "pk") else user
    return "" if key is None else str(key)
