"""Names for users: ids that are primary keys of users of Django are shown with the name, one query a page."""

from typing import Any

from flotilla.natural_names import NamedUser
from flotilla.realtime.access.hooks import users_of


def name_users(rows: list[dict[str, Any]]) -> None:
    """Put `username` into rows that have a `user`; "" where it is no user of Django."""
    known = users_of({row["user"] for row in rows} - {""})
    for row in rows:
        user = known.get(row["user"])
        row["username"] = user.get_username() if user is not None else ""


def named(user_id: str) -> NamedUser:
    """The user of an id, with the name where it is a user of Django."""
    user = users_of([user_id]).get(user_id) if user_id else None
    return NamedUser(user_id, user.get_username() if user is not None else "")
