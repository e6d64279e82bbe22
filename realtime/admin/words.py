"""How the admin's pages say numbers, durations and people; what they say is read in messages and in the admin's log."""

from collections.abc import Mapping
from typing import Any

from flotilla.natural_names import NamedUser

UNITS = {"day": 86_400, "hour": 3_600, "minute": 60}  # seconds
WHERE = {  # what connections, and users by theirs, are found by: the query parameter, and what its input says
    "address": "beginning of an address",
    "channel": "in channel",
    "instance": "beginning of an instance",
    "sdk": "in the SDK's name, version",
}


def count(number: int, noun: str) -> str:
    """`1 connection`, `3 connections`, `2 addresses`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def duration(seconds: float) -> str:
    """In the largest unit that leaves no rest: `1 day`, `90 minutes`, `45 seconds`."""
    for unit, size in UNITS.items():
        if seconds >= size and seconds % size == 0:
            return count(int(seconds // size), unit)
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"


def called(user: NamedUser) -> str:
    """A user by the name, or by the id where there is none."""
    return user.name or (f"id {user.id}" if user.id else "visitors")


def owner(row: Mapping[str, Any]) -> str:
    """Whose a connection is, and from where: a row with `user`, `username` and `address`."""
    who = called(NamedUser(row["user"], row["username"])) if row["user"] else "a visitor"
    return f"{who} at {row['address']}" if row["address"] else who
