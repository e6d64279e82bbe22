"""Scopes: what presence is about, which is either a channel's members or a user's connections.

A scope is a plain string, so that it costs nothing: Redis keys are made of it and signals carry it. How it is written
("c:" and a channel's name, "u:" and a user's id) is known here alone. A channel may be named like a user's scope, so
the kind is never guessed from a name.
"""

_CHANNEL, _USER = "c:", "u:"  # never to be changed in a living cluster: they are in Redis


class Scope:
    """Makes scopes of names, and names of scopes."""

    @staticmethod
    def channel(name: str) -> str:
        """The scope of a channel's members."""
        return _CHANNEL + name

    @staticmethod
    def user(user_id: str) -> str:
        """The scope of a user's connections; "" is the anonymous user."""
        return _USER + user_id

    @staticmethod
    def channel_of(scope: str) -> str | None:
        """The channel's name, or None where the scope is no channel's."""
        return scope[len(_CHANNEL) :] if scope.startswith(_CHANNEL) else None

    @staticmethod
    def user_of(scope: str) -> str | None:
        """The user's id, or None where the scope is no user's."""
        return scope[len(_USER) :] if scope.startswith(_USER) else None
