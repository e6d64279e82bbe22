"""Whom people mean by what they type: an object by its natural name or its primary key, and a user also by any id.

People know users by the name they log in with. Connections, limits and blocks know them by id, the primary key as text;
an id may also be one that only tokens know. What is typed is looked up as a name and as a key. Where that finds two, or
nobody, it is refused, because a command that is about the wrong user, or about nobody, would look as if it had worked.

    ann, 7       the user with this name or this primary key
    name:7       the user with this name
    pk:7         the user with this primary key
    id:7         this id, whoever has it; nobody is looked up

Imports nothing of ours: commands and pages of every app use it.
"""

from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.models import Model

NAME, KEY, ID = "name", "pk", "id"
MAX_SHOWN = 100  # characters of what was typed that a message repeats
USER_HELP = "a user: the name or the primary key; pk:7 and name:7 say which of the two, id:x is any id"


class UnknownName(ValueError):
    """What was typed stands for nobody, or for more than one; the message says what to write instead."""


class NamedUser(NamedTuple):
    """A user by the id that connections have, "" for all visitors; `name` is "" where nobody was looked up."""

    id: str
    name: str = ""

    def __str__(self) -> str:
        if not self.id:
            return "visitors"
        return f"{self.name} (id {self.id})" if self.name else f"id {self.id}"


def user_named(text: str) -> NamedUser:
    """The user whom people call so. Raises UnknownName, and what the database raises while it is away."""
    kind, colon, rest = text.strip().partition(":")
    if colon and kind == ID:
        return NamedUser(rest)
    user: Any = object_named(get_user_model(), text)
    return NamedUser(str(user.pk), user.get_username())


def object_named(model: type[Model], text: str) -> Any:
    """The object of a model with this natural name or primary key. Raises UnknownName."""
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if not colon or kind not in (NAME, KEY):
        kind, rest = "", text
    by_name = _by_name(model, rest) if kind != KEY else None
    by_key = _by_key(model, rest) if kind != NAME else None
    if by_name is not None and by_key is not None and by_name != by_key:
        raise UnknownName(
            f"{_short(rest)} is the {_name_of_name(model)} of one {_what(model)} (pk:{by_name.pk}) and the primary key "
            f"of another (name:{_natural(by_key)}): write name:{rest} or pk:{rest}"
        )
    found = by_name if by_name is not None else by_key
    if found is None:
        raise UnknownName(_unknown(model, kind, rest))
    return found


def natural_name(found: Any) -> str:
    """How people write an object so that `object_named` finds it again."""
    name = _natural(found)
    return f"{NAME}:{name}" if name.partition(":")[0] in (NAME, KEY, ID) and ":" in name else name


def sentence(error: UnknownName) -> str:
    """What is wrong, as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def unreachable(error: DatabaseError) -> str:
    """That the database did not answer, as a sentence."""
    why = str(error).partition("\n")[0]
    return f"The user cannot be looked up, the database does not answer: {why}."


def _by_name(model: Any, text: str) -> Any:
    if not text or "\0" in text:  # no database takes it in a query
        return None
    manager = model._default_manager
    find = getattr(manager, "get_by_natural_key", None)
    try:
        return find(text) if find is not None else manager.get(**{model.USERNAME_FIELD: text})
    except model.DoesNotExist:
        return None
    except model.MultipleObjectsReturned:
        raise UnknownName(
            f"several {_plural(model)} are called {_short(text)}: write pk: and the primary key"
        ) from None
    except (ValueError, ValidationError, OverflowError):  # nothing that the column could hold
        return None


def _by_key(model: Any, text: str) -> Any:
    """The object whose key is written so: `007` is not user 7. A UUID may be written in any of its forms."""
    if not text or "\0" in text:
        return None
    try:
        key = model._meta.pk.to_python(text)
        model._meta.pk.run_validators(key)  # refuses a number that the column cannot hold
        found = model._default_manager.get(pk=key)
    except (model.DoesNotExist, ValidationError, ValueError, TypeError, OverflowError):
        return None
    return found if str(found.pk) == text or isinstance(found.pk, UUID) else None


def _unknown(model: Any, kind: str, text: str) -> str:
    if not text:
        return f"an empty name is no {_what(model)}'s"
    fields = {NAME: f"the {_name_of_name(model)}", KEY: "the primary key"}
    sought = fields.get(kind) or " or ".join(fields.values())
    message = f"there is no {_what(model)} {_short(text)}: it is {sought} of nobody"
    if model is get_user_model():
        message += f"; an id that only tokens know is written id:{text[:MAX_SHOWN]}"
    return message


def _what(model: Any) -> str:
    return str(model._meta.verbose_name)


def _plural(model: Any) -> str:
    return str(model._meta.verbose_name_plural)


def _name_of_name(model: Any) -> str:
    field = getattr(model, "USERNAME_FIELD", None)
    return str(model._meta.get_field(field).verbose_name) if field else "name"


def _natural(found: Any) -> str:
    if hasattr(found, "get_username"):
        return str(found.get_username())
    return str(found.natural_key()[0]) if hasattr(found, "natural_key") else str(found)


def _short(text: str) -> str:
    return repr(text[:MAX_SHOWN])
