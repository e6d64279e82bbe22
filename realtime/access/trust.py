"""Whose tokens are believed, as configured: the keys, audiences and issuers of one kind of token.

Subscription tokens have keys of their own where any `subscription_token_…` key is set: then the keys of connection
tokens do not open channels. What is not set for them is as for connection tokens.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from flotilla.realtime.access.public_keys import PublicKey, UnusableKey, read_pem
from flotilla.realtime.conf import RealtimeConfig, Texts

logger = logging.getLogger("flotilla.realtime.tokens")


@dataclass(frozen=True, slots=True)
class Trust:
    """What a token must be signed with, for whom and by whom. Empty: no such key, or any audience or issuer."""

    secrets: tuple[str, ...] = ()
    public_keys: tuple[PublicKey, ...] = ()
    jwks_urls: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()

    @property
    def has_keys(self) -> bool:
        """Whether any token can be verified at all."""
        return bool(self.secrets or self.public_keys or self.jwks_urls)


def of_connections(config: RealtimeConfig) -> Trust:
    """The trust in connection tokens."""
    return _trust(
        texts(config.token_secret),
        texts(config.token_public_keys),
        texts(config.token_jwks_url),
        texts(config.token_audience),
        texts(config.token_issuer),
    )


def of_subscriptions(config: RealtimeConfig) -> Trust:
    """The trust in subscription tokens."""
    keys = (
        texts(config.subscription_token_secret),
        texts(config.subscription_token_public_keys),
        texts(config.subscription_token_jwks_url),
    )
    if not any(keys):
        keys = texts(config.token_secret), texts(config.token_public_keys), texts(config.token_jwks_url)
    return _trust(
        *keys,
        texts(config.subscription_token_audience) or texts(config.token_audience),
        texts(config.subscription_token_issuer) or texts(config.token_issuer),
    )


def texts(value: Texts) -> tuple[str, ...]:
    """A setting that is one text or several, as several; empty ones are left out: an empty secret is no secret."""
    return tuple(filter(None, (value,) if isinstance(value, str) else value))


@lru_cache(maxsize=16)  # each connect asks for it
def _trust(
    secrets: tuple[str, ...],
    pems: tuple[str, ...],
    jwks_urls: tuple[str, ...],
    audiences: tuple[str, ...],
    issuers: tuple[str, ...],
) -> Trust:
    return Trust(secrets, tuple(_read(pems)), jwks_urls, audiences, issuers)


def _read(pems: Iterable[str]) -> Iterable[PublicKey]:
    """The keys that can be used. `manage.py check` refuses the others, and so does `serve`."""
    for position, pem in enumerate(pems):
        try:
            yield read_pem(pem)
        except UnusableKey as error:
            logger.error("public key %s of tokens is not used: %s", position, error)
