"""Changes of what personal limits depend on: a limit, a user, the members of a group."""

from typing import Any

from django.db import transaction

from flotilla.ratelimit.service import announce_change


def changed(**_: Any) -> None:
    """When the change is committed, have every process load the table of personal limits again."""
    transaction.on_commit(announce_change, robust=True)
