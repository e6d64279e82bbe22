"""Whom people mean that ask about a policy: the identity by which that policy counts them.

A policy counts by one key. An identity of another kind would be found unused, as if its quota were whole; so it is
refused, with what to write. Without a kind (`lobby`, `192.0.2.1`, `ann`) the policy's own key says what is meant.

    ip:ADDRESS  user:USER  channel:NAME  header:VALUE (or key:DIGEST, as `hottest` shows it)  net:ADDRESS
    call:VALUE  what a policy's own function has returned; any other kind is handed to that function
"""

from collections.abc import Callable
from typing import NamedTuple

from flotilla.natural_names import NamedUser
from flotilla.ratelimit.http.addresses import address_of
from flotilla.ratelimit.policies import NETWORK, Policy
from flotilla.ratelimit.subjects import HEADER, Subject, by_address, by_key, by_network, by_user, identity_of

KINDS = ("ip", "user", "channel", "connection", "header", "key", "net", "call")
_OF_KEY = {
    "ip": ("ip",),
    "user": ("user",),
    "user_or_ip": ("user", "ip"),
    "channel": ("channel",),
    "connection": ("connection",),
    NETWORK: ("net", "ip"),
}
_OF_HEADER = ("header", "key", "ip")  # without the header a client is counted by its address


class NotCounted(ValueError):
    """The policy counts nobody by what was asked; the message says by what it does."""


class Asked(NamedTuple):
    """An identity, and the user and address that were named, where they were."""

    identity: str
    user: NamedUser | None = None
    address: str = ""


def asked_identity(policy: Policy, text: str, user_named: Callable[[str], NamedUser]) -> Asked:
    """Whom a policy counts that people call so. Raises NotCounted, ValueError, and what `user_named` raises."""
    kind, value = _kind_and_value(policy, text)
    if kind not in _kinds(policy):
        raise NotCounted(f"{policy.name} counts by {policy.counts_by}, never by {kind}: write {_written(policy)}")
    if policy.in_memory:
        raise NotCounted(
            f"{policy.name} counts each connection in its own process, and nowhere else: "
            "`connections` and `top` show what a connection does"
        )
    user = user_named(value) if kind == "user" else None
    address = _address(value) if kind in ("ip", "net") else ""
    if not isinstance(policy.key, str) and kind != "call":
        return Asked(_called(policy, text, _subject(kind, value, user, address)), user, address)
    return Asked(_identity(policy, kind, value, user), user, address)


def _identity(policy: Policy, kind: str, value: str, user: NamedUser | None) -> str:
    if user is not None:
        return by_user(user.id)
    if kind == "net" or policy.key == NETWORK:
        return by_network(_address(value))
    if kind == "ip":
        return by_address(_address(value))
    return by_key(value) if kind == "header" else f"{kind}:{value}"


def _subject(kind: str, value: str, user: NamedUser | None, address: str) -> Subject:
    return Subject(
        ip=address,
        user=user.id if user is not None else "",
        connection=value if kind == "connection" else "",
        channel=value if kind == "channel" else "",
        header=lambda name: value if kind == "header" else "",
    )


def _called(policy: Policy, text: str, subject: Subject) -> str:
    """What the policy's own function makes of a subject."""
    try:
        identity = identity_of(policy.key, subject)
    except Exception as error:  # the project's own code, which expected a whole request
        raise NotCounted(
            f"{policy.counts_by} of {policy.name} cannot say it of {text!r} alone ({type(error).__name__}: {error}): "
            "write call: and what it returns"
        ) from error
    if identity is None:
        raise NotCounted(f"{policy.name} does not concern {text!r}: {policy.counts_by} returns None for it")
    return identity


def _kind_and_value(policy: Policy, text: str) -> tuple[str, str]:
    kind, colon, value = text.partition(":")
    if colon and kind in KINDS and value and not _is_address(text):
        return kind, value
    kinds = _kinds(policy)
    if _is_address(text) and "ip" in kinds and policy.key != "user":
        return "ip", text
    return (kinds[0] if isinstance(policy.key, str) else "call"), text


def _address(text: str) -> str:
    """An address, or the first one of a network that is counted as one. Raises ValueError."""
    alone = text.strip().partition("/")[0]
    address_of(alone if text.endswith("/48") else text)
    return alone


def _is_address(text: str) -> bool:
    try:
        address_of(text)
    except ValueError:
        return False
    return True


def _kinds(policy: Policy) -> tuple[str, ...]:
    if not isinstance(policy.key, str):
        return KINDS
    return _OF_HEADER if policy.key.startswith(HEADER) else _OF_KEY[policy.key]


def _written(policy: Policy) -> str:
    shown = {"ip": "ip:ADDRESS", "user": "user:USER", "channel": "channel:NAME", "connection": "connection:ID"}
    shown |= {"header": "header:VALUE", "key": "key:DIGEST", "net": "net:ADDRESS"}
    return " or ".join(shown[kind] for kind in _kinds(policy))
