"""Names for users: ids that are primary keys of users of Django are shown with the name, one query a page."""

from typing import Any

from django.contrib.auth import get_user_model

from flotilla.realtime.access.hooks import users_of
from flotilla.realtime.access.tokens import user_id


def name_users(rows: list[dict[str, Any]]) -> None:
    """Put `username` into rows that have a `user`; "" where it is no user of Django."""
    known = users_of({row["user"] for row in rows} - {""})
    for row in rows:
        user = known.get(row["user"])
        row["username"] = user.get_username() if user is not None else ""


def user_named(name: str) -> str | None:
    """The id of the user of Django with exactly this name."""
    model = get_user_model()
    found = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first() if name and "\0" not in name else None
    return None if found is None else user_id(found)
