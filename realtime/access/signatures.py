"""Signatures of tokens: which key a token was signed with, of those that are trusted.

The algorithm that a token names only chooses among what its kind of key allows: HS is checked with secrets alone, RS,
PS, ES and EdDSA with public keys whose kind fits (`public_keys`). There is no way from one to the other, and `none` is
no algorithm here. With several secrets the first signs and all verify.

`payload_of` uses the keys at hand. Where tokens come from a JWKS URL, `fetch_key` first has the token's key there.
"""

import asyncio
import base64
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jwt
import msgspec
from jwt import algorithms as pyjwt
from jwt.algorithms import HMACAlgorithm

from flotilla.realtime.access.jwks import KeysUnavailable, issuer_at
from flotilla.realtime.access.public_keys import ALGORITHMS as PUBLIC_KEY_ALGORITHMS
from flotilla.realtime.access.trust import Trust
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

MAX_KEY_ID = 512
HMAC_ALGORITHMS = ("HS256", "HS384", "HS512")
SIGNED_WITH = HMAC_ALGORITHMS[0]


class BadSignature(Exception):
    """The token was not signed with any key that is trusted; the message never repeats it."""


class Head(NamedTuple):
    """What a token says of its signature. None of it is verified."""

    algorithm: str
    kid: str


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw = msgspec.Raw()


class _Hmac(HMACAlgorithm):
    """PyJWT's HMAC without its warning for each token: the system check warns of a short secret once."""

    def check_key_length(self, key: bytes) -> str | None:
        return None

    def prepare_key(self, key: str | bytes) -> bytes:
        return _prepared(key)


@lru_cache(maxsize=32)
def _prepared(secret: str | bytes) -> bytes:
    """A secret, once PyJWT has looked whether it is a public key. Raises jwt.InvalidKeyError."""
    return HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)


def _jws() -> jwt.PyJWS:
    found = jwt.PyJWS(algorithms=[])
    for name, made in zip(HMAC_ALGORITHMS, (_Hmac.SHA256, _Hmac.SHA384, _Hmac.SHA512), strict=True):
        found.register_algorithm(name, _Hmac(made))
    for name, algorithm in pyjwt.get_default_algorithms().items():  # without `cryptography` there are none of these
        if name in PUBLIC_KEY_ALGORITHMS:
            found.register_algorithm(name, algorithm)
    return found


_JWS = _jws()
_ALGORITHMS = frozenset(_JWS.get_algorithms())


def sign(payload: bytes, trust: Trust) -> str:
    """A token with this payload, signed with the first secret (there must be one)."""
    return _JWS.encode(payload, trust.secrets[0], algorithm=SIGNED_WITH)


def payload_of(token: str, trust: Trust) -> bytes:
    """What a token says, once its signature is verified with a key at hand. Raises BadSignature."""
    head = _head(token)
    why = "no key is configured that verifies it"
    for key in _candidates(head, trust):
        try:
            return bytes(_JWS.decode(token, key, algorithms=[head.algorithm]))
        except (jwt.PyJWTError, ValueError) as error:
            why = str(error)
    raise BadSignature(f"{why} ({head.algorithm[:20]})")


async def fetch_key(token: str, trust: Trust) -> None:
    """Have the public key of a token at hand, if it is of a JWKS URL. Waits only where it is not known yet.

    Raises CommandError 100 where that cannot be said for now: the client tries again.
    """
    if not trust.jwks_urls:
        return
    try:
        head = _head(token)
    except BadSignature:
        return
    if head.algorithm not in PUBLIC_KEY_ALGORITHMS or _is_verified(token, head, trust):
        return
    issuers = [issuer_at(url) for url in trust.jwks_urls]
    having = [issuer for issuer in issuers if issuer.find(head.kid, head.algorithm)]
    asked = having or issuers
    for issuer in issuers:
        if issuer not in asked:
            issuer.begin()
    answers = await asyncio.gather(*(one.look_up(head.kid, head.algorithm) for one in asked), return_exceptions=True)
    if any(issuer.find(head.kid, head.algorithm) for issuer in asked):
        return
    for error in answers:
        if isinstance(error, KeysUnavailable):
            raise CommandError(ErrorCode.INTERNAL, detail=f"a token cannot be verified for now: {error}")
        if error is not None:
            raise error


def _head(token: str) -> Head:
    """Raises BadSignature for what is no token, or not signed with an algorithm that is known here.

    This reads as much as is needed to choose a key. PyJWT reads the same strictly, and takes no other algorithm than
    this, so that a difference between the two is a refusal.
    """
    try:
        text = token.partition(".")[0]
        header = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Header)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadSignature(f"no head of a token: {error}") from None
    if header.alg not in _ALGORITHMS:
        raise BadSignature("no algorithm of its signature is accepted")
    if bytes(header.crit):
        raise BadSignature("its head has members that must be understood (crit), and none is")
    if len(header.kid or "") > MAX_KEY_ID:
        raise BadSignature("its key id is too long")
    return Head(header.alg, header.kid or "")


def _candidates(head: Head, trust: Trust) -> Iterator[Any]:
    if head.algorithm in HMAC_ALGORITHMS:
        yield from trust.secrets
        return
    for known in trust.public_keys:
        if head.algorithm in known.algorithms:
            yield known.key
    for url in trust.jwks_urls:
        for known in issuer_at(url).find(head.kid, head.algorithm):
            yield known.key


def _is_verified(token: str, head: Head, trust: Trust) -> bool:
    """Whether one of the configured public keys does, so that its issuer need not be asked."""
    for known in trust.public_keys:
        if head.algorithm in known.algorithms:
            try:
                _JWS.decode(token, known.key, algorithms=[head.algorithm])
                return True
            except (jwt.PyJWTError, ValueError):
                continue
    return False
