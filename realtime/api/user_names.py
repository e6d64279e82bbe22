"""Names of users for people who look: ids are shown with the name of the user of Django, one query a page, and what is
typed into a search may be a name.

A search that finds nobody does no harm, so here an unknown name is taken for an id; commands refuse it.
"""

from typing import Any

from flotilla.natural_names import ID, KEY, NAME, NamedUser, UnknownName, user_named
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


def id_of(text: str) -> str:
    """The id that is meant by a name, a key or an id. What is one user's name and another's key is taken as the key."""
    try:
        return user_named(text).id if text else ""
    except UnknownName:
        return text


def id_of_name(text: str) -> str | None:
    """The id of the user of Django with exactly this name; None where there is none."""
    try:
        return user_named(text if text.partition(":")[0] in (NAME, KEY, ID) else f"{NAME}:{text}").id or None
    except UnknownName:
        return None
