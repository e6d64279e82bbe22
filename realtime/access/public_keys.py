"""Public keys of token issuers, as PEM or as JWK, and which algorithms each of them may verify. No I/O.

The kind of a key decides the algorithms, never the token: RSA (2048 bits at least) RS and PS, the curves P-256, P-384
and P-521 their one ES, Ed25519 EdDSA. Everything else is refused, a symmetric JWK (`oct`) too: what an issuer publishes
is no secret. A JWK that names its algorithm (`alg`) has that one alone.

This needs the package `cryptography` (the extra `jwt`); it is imported at the first key, as most installations have
none.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # checking a signature takes longer with each bit, and anybody may send one to check
MAX_KEYS = 100  # in a set of keys
RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
EDWARDS = "EdDSA"
ALGORITHMS = RSA | set(CURVES.values()) | {EDWARDS}


class UnusableKey(ValueError):
    """This is no key that a token may be verified with; the message never repeats it."""


class CryptographyMissing(UnusableKey):
    """The package `cryptography` is not installed."""

    def __init__(self) -> None:
        super().__init__("public keys need the package cryptography")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key as `cryptography` has it, and the names of the algorithms it may verify."""

    key: Any
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of an issuer by their id (`kid`); those without one are under ""."""

    keys: dict[str, tuple[PublicKey, ...]]
    skipped: tuple[str, ...] = ()
    """Why other keys of the document are not used."""

    def find(self, kid: str, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys that a token may have been signed with. One that names none (`kid` "") can only be the single key
        of its algorithm's kind: an attacker must not have a whole set tried."""
        if kid:
            return tuple(key for key in self.keys.get(kid, ()) if algorithm in key.algorithms)
        fitting = [key for keys in self.keys.values() for key in keys if algorithm in key.algorithms]
        return tuple(fitting) if len(fitting) == 1 else ()


class _Jwk(msgspec.Struct):
    """The members of a JWK (RFC 7517) that say what it is; PyJWT reads the key itself."""

    kty: str
    kid: str = ""
    use: str = ""
    key_ops: list[str] | None = None
    alg: str = ""


class _Document(msgspec.Struct):
    keys: list[msgspec.Raw]


def read_pem(text: str) -> PublicKey:
    """The key of a PEM text: a public key, or a certificate's. Raises UnusableKey."""
    x509, serialization = _cryptography()
    data = text.strip().encode()
    if b"PRIVATE KEY-----" in data:
        raise UnusableKey("this is a private key, which belongs to the issuer alone: give its public key")
    try:
        if data.startswith(b"-----BEGIN CERTIFICATE-----"):
            return _usable(x509.load_pem_x509_certificate(data).public_key())
        return _usable(serialization.load_pem_public_key(data))
    except UnusableKey:
        raise
    except Exception as error:  # what cryptography raises for a text that is none is of many kinds
        raise UnusableKey(f"no PEM of a public key ({type(error).__name__})") from error


def read_set(document: bytes) -> KeySet:
    """The keys of a JWKS document that verify signatures; a single one that cannot be used does not spoil the others.

    Raises UnusableKey where it is no such document, has more than MAX_KEYS keys, or none of them can be used.
    """
    try:
        found = msgspec.json.decode(document, type=_Document).keys
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnusableKey(f"no JWKS document: {error}") from None
    if len(found) > MAX_KEYS:
        raise UnusableKey(f"{len(found)} keys, more than {MAX_KEYS}")
    keys: dict[str, tuple[PublicKey, ...]] = {}
    skipped = []
    for position, raw in enumerate(found):
        try:
            kid, key = _read_jwk(bytes(raw))
        except CryptographyMissing:
            raise
        except UnusableKey as error:
            skipped.append(f"key {position}: {error}")
            continue
        keys[kid] = (*keys.get(kid, ()), key)
    if not keys:
        raise UnusableKey("no key in it can be used" + (f" ({skipped[0]})" if skipped else ""))
    return KeySet(keys, tuple(skipped))


def _read_jwk(raw: bytes) -> tuple[str, PublicKey]:
    try:
        about = msgspec.json.decode(raw, type=_Jwk)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnusableKey(f"no JWK: {error}") from None
    if about.kty not in ("RSA", "EC", "OKP"):
        raise UnusableKey(f"a key of the type {about.kty[:20]!r}")
    if about.use not in ("", "sig") or (about.key_ops is not None and "verify" not in about.key_ops):
        raise UnusableKey("not for signatures")
    key = _usable(_loaded(about.kty, raw))
    if about.alg:
        key = PublicKey(key.key, key.algorithms & {about.alg})
        if not key.algorithms:
            raise UnusableKey(f"its algorithm is {about.alg[:20]!r}")
    return about.kid, key


def _loaded(kind: str, raw: bytes) -> Any:
    _cryptography()
    from jwt import algorithms

    reader: Any = {"RSA": "RSAAlgorithm", "EC": "ECAlgorithm", "OKP": "OKPAlgorithm"}[kind]
    try:
        return getattr(algorithms, reader).from_jwk(raw.decode())
    except Exception as error:  # PyJWT lets through what cryptography and the standard library raise
        raise UnusableKey(f"it cannot be read ({type(error).__name__})") from error


def _usable(key: Any) -> PublicKey:
    """The key with its algorithms. Raises UnusableKey for private keys, short ones, and kinds without an algorithm."""
    _cryptography()
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            message = f"an RSA key of {key.key_size} bits: it takes {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            raise UnusableKey(message)
        return PublicKey(key, RSA)
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise UnusableKey(f"the curve {key.curve.name} is not one of {', '.join(CURVES)}")
        return PublicKey(key, frozenset({CURVES[key.curve.name]}))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(key, frozenset({EDWARDS}))
    raise UnusableKey(f"a key of the kind {type(key).__name__.strip('_')} verifies no token")


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise CryptographyMissing from None
    return x509, serialization
