"""Whom a policy counts: what is known of the client that asks, and the identity that a policy's key makes of it.

An identity begins with its kind, so that a user whose id looks like an address is not counted as that address. What a
client sends (an API key) is hashed before it is kept anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from flotilla.ratelimit.http.addresses import counted, wide

SIMPLE_KEYS = ("ip", "user", "user_or_ip", "connection", "channel")
HEADER = "header:"

KeyFunction = Callable[["Subject"], str | None]
Key = str | KeyFunction


def no_header(name: str) -> str:
    """The value of any header, for a client that has none."""
    return ""


@dataclass(slots=True)
class Subject:
    """Who asks. `user` is "" for visitors; `request` is the HTTP request where there is one."""

    ip: str = ""
    user: str = ""
    connection: str = ""
    channel: str = ""
    header: Callable[[str], str] = no_header
    request: Any = None


def identity_of(key: Key, subject: Subject) -> str | None:
    """Whom `key` counts a subject as; None when the policy does not concern it.

    `user` concerns those who are signed in, `channel` and `connection` what has one. A client without the header is
    counted by its address, so that leaving the header out does not avoid the limit.
    """
    if not isinstance(key, str):
        value = key(subject)
        return None if value is None else f"call:{value}"
    if key == "ip":
        return by_address(subject.ip)
    if key == "user" or (key == "user_or_ip" and subject.user):
        return by_user(subject.user) if subject.user else None
    if key == "user_or_ip":
        return by_address(subject.ip)
    if key.startswith(HEADER):
        value = subject.header(key.removeprefix(HEADER))
        return by_key(value) if value else by_address(subject.ip)
    value = subject.channel if key == "channel" else subject.connection
    return f"{key}:{value}" if value else None


def wider_identity(identity: str | None, address: str) -> str | None:
    """The one identity for all that somebody at this address could make up: random values of a header, and the /64s of
    an IPv6 /48. None where `identity` cannot be made up, already stands for the whole address, or there is no address.
    """
    kind = identity.partition(":")[0] if identity else ""
    if not address or kind not in ("key", "ip") or (kind == "ip" and wide(address) == counted(address)):
        return None
    return by_network(address)


def by_network(address: str) -> str:
    """The identity of everybody at an address or, in IPv6, in its /48."""
    return f"net:{wide(address)}"


def by_address(address: str) -> str:
    """The identity of an address."""
    return f"ip:{counted(address)}"


def by_user(user: object) -> str:
    """The identity of a user, by id."""
    return f"user:{user}"


def by_key(value: str) -> str:
    """The identity of an API key or another header's value."""
    return f"key:{digest_of(value)}"


def digest_of(value: str) -> str:
    """What is kept of a secret: enough to recognise it, and of no use to anybody else."""
    return sha256(value.encode(errors="replace")).hexdigest()[:32]
