"""What must hold between the settings of tokens, beyond their types. Pure; no message repeats a secret or a key.

Whether a public key can be read is said by the system checks, as that needs the package `cryptography`.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from flotilla.realtime.outgoing_http import url_fault

JWKS_MEND = 'Write the https:// address of the key set, as "https://example.auth0.com/.well-known/jwks.json".'
_CLAIMS = "aud b64data b64info channel channels client data exp expire_at iat info iss jti meta nbf override subs"
TAKEN = frozenset(_CLAIMS.split())
"""Claims that mean something else already."""
LISTS = (
    "token_secret",
    "token_public_keys",
    "token_jwks_url",
    "token_audience",
    "token_issuer",
    "subscription_token_secret",
    "subscription_token_public_keys",
    "subscription_token_jwks_url",
    "subscription_token_audience",
    "subscription_token_issuer",
)


def faults(config: Any) -> Iterator[tuple[str, str, str]]:
    """Each fault: the setting, what is wrong with it, and its mend."""
    for name in LISTS:
        value = getattr(config, name)
        if not isinstance(value, str) and "" in value:
            yield name, "expected no empty text in the list", "Take it out, or look why it is empty."
    for name in ("token_secret", "subscription_token_secret"):
        value = getattr(config, name)
        for secret in (value,) if isinstance(value, str) else value:
            if "-----BEGIN " in secret:
                mend = f"Move it to {name.replace('secret', 'public_keys')}: a secret is known to nobody but you."
                yield name, "expected a secret, got a key in PEM", mend
    for name in ("token_jwks_url", "subscription_token_jwks_url"):
        value = getattr(config, name)
        for url in (value,) if isinstance(value, str) else value:
            if url and (fault := fault_of_url(url)):
                yield name, fault, JWKS_MEND
    for name, other in (("token_user_claim", "token_type_claim"), ("token_type_claim", "token_user_claim")):
        claim = getattr(config, name)
        if not claim or claim in TAKEN or not claim.isprintable():
            yield name, f"expected the name of a claim that has no other meaning, got {claim!r}", 'Write one, as "sub".'
        elif claim == getattr(config, other):
            yield name, f"expected another claim than {other}", "Name two claims."
    if not config.token_types:
        yield "token_types", "expected one type at least", 'Write ["access"], or what your issuer calls them.'


def fault_of_url(url: str) -> str:
    """What is wrong with a URL that keys are fetched from, "" when nothing is.

    It is https, or this machine itself: whoever can change the answer on its way can sign for anybody.
    """
    if fault := url_fault(url):
        return fault
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        return (
            "expected https: over http anybody on the way could change the keys (only this machine's own may be http)"
        )
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
