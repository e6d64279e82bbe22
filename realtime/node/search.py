"""How inspection looks for clients, and in which orders it gives them."""

from collections.abc import Callable
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection

HEXADECIMAL = set("0123456789abcdef")

Fits = Callable[[Client], bool]

NUMBERS: dict[str, Callable[[Client], float]] = {
    "since": lambda client: client.since,
    "waiting": lambda client: client.socket.unsent,
    "num_channels": lambda client: len(client.subscriptions),
    "commands": lambda client: client.commands.handled,
}
TEXTS: dict[str, Callable[[Client], str]] = {
    "user": lambda client: client.identity.user,
    "address": lambda client: client.address,
    "sdk": lambda client: sdk_of(client),
}
ORDERS: dict[str, Callable[[Client], Any]] = {**NUMBERS, **TEXTS}
"""By what connections can be ordered: the names of fields of their rows."""


class Search(Selection, kw_only=True):
    """A selection, of which those are wanted that fit all texts. `text` begins the user, address or id, or is in the
    SDK's name; `at` begins the instance's name or incarnation, `address` the address; `sdk` is in the SDK's name and
    version."""

    text: str = ""
    at: str = ""
    address: str = ""
    sdk: str = ""


def fitting(search: Search) -> Fits | None:
    """Whether a client fits the texts; None where they say nothing. Instances are told apart before."""
    wanted: list[Fits] = []
    if search.text:
        wanted.append(_anywhere(search.text))
    if search.address:
        address = search.address.lower()
        wanted.append(lambda client: client.address.startswith(address))
    if search.sdk:
        sdk = search.sdk.lower()
        wanted.append(lambda client: sdk in sdk_of(client).lower())
    if len(wanted) < 2:
        return wanted[0] if wanted else None
    return lambda client: all(fits(client) for fits in wanted)


def is_at(node: NodeParts, beginning: str) -> bool:
    """Whether an instance is meant by the beginning of its name or incarnation."""
    return node.instance.startswith(beginning) or node.presence.incarnation.startswith(beginning)


def sdk_of(client: Client) -> str:
    """The name and version that a client's SDK gives itself."""
    return f"{client.name} {client.version}".strip()


def _anywhere(text: str) -> Fits:
    lowered = text.lower()
    signs = set(lowered)  # a text that can be no id or no address is not compared with any
    may_be_id, may_be_address = signs <= HEXADECIMAL | {"-"}, signs <= HEXADECIMAL | {".", ":"}

    def fits(client: Client) -> bool:
        return (
            client.identity.user.startswith(text)
            or (may_be_id and client.id.startswith(text))
            or (may_be_address and client.address.startswith(text))
            or lowered in client.name.lower()
        )

    return fits
