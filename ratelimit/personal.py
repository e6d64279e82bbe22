"""Personal limits as requests meet them: a table in memory, from identity to rate, loaded when it changed.

A user's own limit comes before those of groups, among which the most generous counts. No request makes a query: the
thread of `background` loads the table when the version in Redis went up.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model

from flotilla.ratelimit.algorithms.rates import Rate, parse_rate
from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.subjects import by_user

logger = logging.getLogger("flotilla.ratelimit")

Personal = Rate | None
"""The rate; None exempts."""
Table = Mapping[tuple[str, str], Personal]
"""By (policy, identity)."""


def load() -> Table:
    """The whole table: one query for the limits, one for the members of the groups among them."""
    limits = list(PersonalLimit.objects.all())
    table: dict[tuple[str, str], Personal] = {}
    members = _members([limit.group_id for limit in limits if limit.group_id])
    for limit in sorted((limit for limit in limits if limit.group_id), key=_generosity):
        for user in members.get(limit.group_id, ()):
            table[limit.policy, by_user(user)] = _rate(limit)
    for limit in limits:
        if limit.user_id:
            table[limit.policy, by_user(limit.user_id)] = _rate(limit)
        elif limit.key_digest:
            table[limit.policy, f"key:{limit.key_digest}"] = _rate(limit)
    return table


def has_many(name: str, of: type[Model]) -> bool:
    """Whether `name` of this project's users is Django's own relation to groups or permissions: a user model of its
    own may know none, or call something else so."""
    return any(
        field.name == name and field.many_to_many and not field.auto_created and field.related_model is of
        for field in get_user_model()._meta.get_fields()
    )


def has_groups() -> bool:
    """Whether users of this project can be in Django's groups."""
    return has_many("groups", Group)


def _members(groups: list[Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    if groups and has_groups():
        pairs = get_user_model()._default_manager.filter(groups__in=groups).values_list("groups", "pk")
        for group, user in pairs:
            found.setdefault(group, []).append(user)
    return found


def _rate(limit: PersonalLimit) -> Personal:
    return None if limit.exempt else parse_rate(limit.rate)


def _generosity(limit: PersonalLimit) -> float:
    rate = _rate(limit)
    return float("inf") if rate is None else rate.count / rate.period
