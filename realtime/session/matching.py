"""Whom a command of the cluster is about, among the connections of this instance.

What a command names is looked up, so that it costs nothing to those it is not about; an address alone is looked for.
"""

from collections.abc import Collection
from hashlib import sha256
from typing import TYPE_CHECKING

from ratelimit.addresses import counted
from realtime.engine.control import Command
from realtime.session.session import Session, State

if TYPE_CHECKING:
    from realtime.engine.node import Node


def login_of(session_key: str) -> str:
    """A Django session's name in commands: its key is a secret."""
    return sha256(session_key.encode()).hexdigest()


def matching(node: "Node", command: Command, *, inside: bool = True) -> list[Session]:
    """The connections a command is about; with `inside` those in its channel, where it names one."""
    return [session for session in named(node, command, inside) if fits(session, command, inside)]


def named(node: "Node", command: Command, inside: bool) -> list[Session]:
    """Few that surely hold all."""
    if command.client:
        session = node.sessions.get(command.client)
        return [session] if session is not None else []
    users = [command.user] if command.user is not None else command.users
    if users is not None:
        return [session for user in dict.fromkeys(users) for session in node.users.get(user, ())]
    if inside and command.channel:
        channel = node.hub.channels.get(command.channel)
        subscribers = [s.subscriber for s in channel.subscriptions] if channel is not None else []
        return [subscriber for subscriber in subscribers if isinstance(subscriber, Session)]
    return list(node.sessions.values())


def fits(session: Session, command: Command, inside: bool) -> bool:
    """Whether a connection is one of those meant."""
    return (
        session.state is State.CONNECTED
        and command.user in (None, session.identity.user)
        and session.client not in command.keep
        and (not inside or not command.channel or command.channel in session.subscriptions)
        and (not command.login or login_of(session.identity.session_key or "") == command.login)
    )


def is_at(session: Session, addresses: Collection[str]) -> bool:
    """Whether a connection comes from one of these, as `ratelimit.addresses.counted` writes them."""
    address = session.address  # IPv4 is written as it is counted: nothing to parse, for most of a hundred thousand
    return address in addresses or (":" in address and counted(address) in addresses)
