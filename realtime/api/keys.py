"""Keys of the HTTP API: which request has a valid one, and what rate limits know its holder as.

Keys are compared as digests and all of them each time, so that the time taken tells neither what nor how long one is.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256

from django.http import HttpRequest

from flotilla.ratelimit.subjects import Subject, by_address, by_key
from flotilla.realtime.conf import get_config


def key_of(request: HttpRequest) -> str:
    """The key a request came with, "" without: `X-API-Key: K`, or `Authorization: apikey K`."""
    return key_among(request.headers.get)


def key_among(header: Callable[[str, str], str]) -> str:
    """The same of headers that are asked for by their lower-case names, with a default."""
    given = header("x-api-key", "")
    scheme, _, credentials = header("authorization", "").partition(" ")
    if not given and scheme.lower() == "apikey":
        return credentials.strip()
    return given


def is_valid(key: str) -> bool:
    """Whether a key is one of those configured."""
    matches = [hmac.compare_digest(_digest(key), _digest(known)) for known in get_config().api_keys]
    return bool(key) and any(matches)


def holder(subject: Subject) -> str:
    """For a rate limit's `key`: each valid key by itself, however it was sent; everybody else by address."""
    key = key_of(subject.request) if subject.request is not None else ""
    return by_key(key) if is_valid(key) else by_address(subject.ip)


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="replace")).digest()
