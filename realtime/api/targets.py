"""Whom a call of the API is about, as its caller names them."""

from typing import Any

from flotilla.realtime.access.tokens import user_id


def user_or_all(user: Any) -> str | None:
    """The id of a Django user, or of what stands for one; None, which is everybody, stays."""
    return None if user is None else user_id(user)


def require_target(user: Any, *others: str) -> None:
    """Raise ValueError for a call that names nobody, but would be about everybody."""
    if user is None and not any(others):
        raise ValueError("say whom: a user, a client, or a channel")
