"""Whom a command of the cluster is about, among the connections of this instance.

What a command names is looked up, so that it costs nothing to those it is not about; an address alone is looked for.
"""

from collections.abc import Callable, Collection
from hashlib import sha256

from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.states import State
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts


def login_of(session_key: str) -> str:
    """A Django session's name in commands: its key is a secret."""
    return sha256(session_key.encode()).hexdigest()


def matching(node: NodeParts, command: Command, *, inside: bool = True) -> list[Client]:
    """The connections a command is about; with `inside` those in its channel, where it names one."""
    return list(filter(fitting(command, inside), named(node, command, inside)))


def named(node: NodeParts, command: Command, inside: bool) -> list[Client]:
    """Few that surely hold all."""
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


def fitting(command: Command, inside: bool, shown: Callable[[Client], bool] | None = None) -> Callable[[Client], bool]:
    """Whether one of those that `named` found is meant, and is `shown`. It may be asked a hundred thousand times: what
    the command says is looked at once."""
    connected, user, keep, login = State.CONNECTED, command.user, frozenset(command.keep), command.login
    by_channel = user is None and command.users is None and not command.client  # then they were found in it
    channel = command.channel if inside and not by_channel else ""

    def fits(client: Client) -> bool:
        return (
            client.state is connected
            and (user is None or client.identity.user == user)
            and (not channel or channel in client.subscriptions)
            and (shown is None or shown(client))
            and (not keep or client.id not in keep)
            and (not login or login_of(client.identity.session_key or "") == login)
        )

    return fits


def is_at(client: Client, addresses: Collection[str]) -> bool:
    """Whether a connection comes from one of these, as `flotilla.ratelimit.http.addresses.counted` writes them."""
    address = client.address  # IPv4 is written as it is counted: nothing to parse, for most of a hundred thousand
    return address in addresses or (":" in address and counted(address) in addresses)
