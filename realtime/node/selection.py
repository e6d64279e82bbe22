"""Whom a command of the cluster is about, among the clients of this instance.

What a command names is looked up, so that it costs nothing to clients it is not about.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TypeVar

from flotilla.realtime.client.client import Client
from flotilla.realtime.client.states import State
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts

Each = TypeVar("Each")

WAVE = 100  # clients worked on before others get their turn


class Selection(Command, kw_only=True):
    """A command about clients: those for whom everything holds that it says. Empty fields say nothing, nor do `user`
    and `users` that are None.

    `login` is the digest of a Django session's key (`login_of`); the clients in `keep`, by their ids, are left out.
    """

    user: str | None = None
    users: list[str] | None = None
    client: str = ""
    channel: str = ""
    login: str = ""
    keep: list[str] = []


def login_of(session_key: str) -> str:
    """A Django session's name in commands: its key is a secret."""
    return sha256(session_key.encode()).hexdigest()


def selected(node: NodeParts, command: Selection, *, inside: bool = True) -> list[Client]:
    """The clients a command is about; with `inside` only those in its channel, where it names one."""
    return list(filter(condition(command, inside), candidates(node, command, inside)))


def candidates(node: NodeParts, command: Selection, inside: bool) -> list[Client]:
    """The clients among which all are that the command is about: found by one thing that it names, or everybody."""
    if command.client:
        client = node.clients.get(command.client)
        return [client] if client is not None else []
    users = [command.user] if command.user is not None else command.users
    if users is not None:
        return [client for user in dict.fromkeys(users) for client in node.users.get(user, ())]
    if inside and command.channel:
        channel = node.hub.channels.get(command.channel)
        subscriptions = channel.subscriptions if channel is not None else []
        return [one.subscriber for one in subscriptions if isinstance(one.subscriber, Client)]
    return list(node.clients.values())


def condition(
    command: Selection, inside: bool, shown: Callable[[Client], bool] | None = None
) -> Callable[[Client], bool]:
    """Whether the command is about one of its `candidates`, and whether that one is `shown`. The answer may be wanted
    for a hundred thousand clients, so what the command says is read once."""
    connected, user, keep, login = State.CONNECTED, command.user, frozenset(command.keep), command.login
    by_channel = user is None and command.users is None and not command.client  # then they were found in it
    channel = command.channel if inside and not by_channel else ""

    def holds(client: Client) -> bool:
        return (
            client.state is connected
            and (user is None or client.identity.user == user)
            and (not channel or channel in client.subscriptions)
            and (shown is None or shown(client))
            and (not keep or client.id not in keep)
            and (not login or login_of(client.identity.session_key or "") == login)
        )

    return holds


def waves(clients: list[Each]) -> Iterator[list[Each]]:
    """Clients (or whatever goes with each), so many at a time as are worked on before others get their turn."""
    for start in range(0, len(clients), WAVE):
        yield clients[start : start + WAVE]
