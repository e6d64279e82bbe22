"""Public keys: which are taken, for which algorithms, and why others are not."""

import datetime
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.access.public_keys import MAX_KEYS, UnusableKey, read_pem, read_set
from tests.realtime.access.issuers import jwk, key_set, pem, private, private_pem

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
EXPECTED = [("rsa", RSA), ("p256", {"ES256"}), ("p384", {"ES384"}), ("p521", {"ES512"}), ("ed25519", {"EdDSA"})]


@pytest.mark.parametrize(("kind", "algorithms"), EXPECTED)
def test_the_kind_of_a_key_decides_its_algorithms(kind: str, algorithms: set[str]) -> None:
    """Whether it comes as PEM or as JWK."""
    assert read_pem(pem(kind)).algorithms == algorithms
    assert read_pem(f"\n  {pem(kind)}\n").algorithms == algorithms
    (key,) = read_set(key_set(jwk(kind))).keys[kind]
    assert key.algorithms == algorithms


def test_the_key_of_a_certificate_is_taken() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, private("p256").public_key(), 1, now, now)
    made = builder.sign(private("p256"), hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    assert read_pem(made).algorithms == {"ES256"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no PEM"),
        ("a secret", "no PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "no PEM"),
        (private_pem("p256"), "private key"),
        (pem("rsa-short"), "1024 bits"),
        (pem("k256"), "secp256k1"),
        (pem("ed448"), "Ed448PublicKey"),
    ],
)
def test_what_is_no_key_for_tokens_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnusableKey, match=why) as caught:
        read_pem(text)
    assert not text or text.splitlines()[-2:][0] not in str(caught.value)


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(UnusableKey):
        read_pem(text)
    with pytest.raises(UnusableKey):
        read_set(text.encode(errors="replace"))


def test_a_key_that_cannot_be_used_does_not_spoil_the_others() -> None:
    """And what it was is said."""
    others: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        jwk("rsa-short"),
        jwk("k256"),
        jwk("rsa", kid="b", use="enc"),
        jwk("rsa", kid="c", key_ops=["encrypt"]),
        jwk("rsa", kid="d", alg="HS256"),
        jwk("rsa", kid="e", n=None),
        jwk("rsa", kid="f", n="!"),
        jwk("p256", kid="g", x="AAAA"),
        jwk("p256", kid=7),
        {"kty": "XYZ"},
        5,
    ]
    found = read_set(key_set(*others, jwk("ed25519")))
    assert set(found.keys) == {"ed25519"}
    assert len(found.skipped) == len(others)


def test_a_private_jwk_is_not_used() -> None:
    from jwt.algorithms import RSAAlgorithm

    whole = json.loads(RSAAlgorithm.to_jwk(private("rsa"))) | {"key_ops": ["verify"]}
    with pytest.raises(UnusableKey, match="RSAPrivateKey"):
        read_set(key_set(whole))


def test_a_jwk_that_names_its_algorithm_has_no_other() -> None:
    (key,) = read_set(key_set(jwk("rsa", alg="RS512"))).keys["rsa"]
    assert key.algorithms == {"RS512"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[' + b"[" * 9999]
)
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(UnusableKey):
        read_set(body)


def test_a_set_has_a_bound() -> None:
    assert len(read_set(key_set(*[jwk("p256", kid=str(i)) for i in range(MAX_KEYS)])).keys) == MAX_KEYS
    with pytest.raises(UnusableKey, match="more than"):
        read_set(key_set(*[jwk("p256", kid=str(i)) for i in range(MAX_KEYS + 1)]))


def test_a_token_without_a_key_id_can_only_be_of_the_one_key_that_fits() -> None:
    found = read_set(key_set(jwk("rsa"), jwk("p256"), jwk("p256", kid="other")))
    assert len(found.find("", "RS256")) == 1
    assert found.find("", "ES256") == ()
    assert found.find("rsa", "ES256") == ()
    assert len(found.find("other", "ES256")) == 1
    assert found.find("unknown", "ES256") == ()
