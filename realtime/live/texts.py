"""A field's value from the text that a channel, a key or a cursor has of it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Field

_INTEGERS = range(-(2**63), 2**63)
"""What a column may have; a database may refuse to be asked for others."""


def value_of(field: "Field[Any, Any]", given: str | int) -> Any:
    """The value. Raises ValueError for what is none, or no column can have.

    A project's own validators are not asked: rows that break them are shown like others.
    """
    try:
        value = field.to_python(given)
    except (ValidationError, TypeError, OverflowError) as error:
        raise ValueError(f"{given!r} is no {field.name}") from error
    if (isinstance(value, int) and value not in _INTEGERS) or (isinstance(value, str) and "\0" in value):
        raise ValueError(f"no {field.name} is {given!r}")
    return value
