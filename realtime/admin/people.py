"""Names for users: ids that are primary keys of Django's users are shown with the name, one query a page."""

from typing import Any

from realtime.access.hooks import users_of


def name_users(rows: list[dict[str, Any]]) -> None:
    """Put `username` into rows that have a `user`; "" where it is no user of Django."""
    known = users_of({row["user"] for row in rows} - {""})
    for row in rows:
        user = known.get(row["user"])
        row["username"] = user.get_username() if user is not None else ""
