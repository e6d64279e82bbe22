"""Personal limits: who has which, and that a change is everywhere soon without a query per request."""

import threading
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from flotilla.ratelimit import service
from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.service import Limits, get_limits
from flotilla.ratelimit.subjects import Subject, digest_of

pytestmark = pytest.mark.django_db

POLICIES = {
    "users": {"guards": "http", "key": "user_or_ip", "rate": "2/m"},
    "keys": {"guards": "http", "key": "header:X-API-Key", "rate": "2/m"},
}


@pytest.fixture
def limits(limits_settings: Any) -> Limits:
    limits_settings.RATE_LIMITS = POLICIES
    return get_limits()


def allowed(limits: Limits, times: int = 5, user: str = "", key: str = "", name: str = "users") -> int:
    subject = Subject(ip="192.0.2.1", user=user, header=lambda _: key)
    claims = [limits.claims([limits.by_name[name]], subject) for _ in range(times)]
    return sum(limits.limiter.decide_sync(one).allowed for one in claims)


def test_a_user_may_have_more_less_or_no_limit(limits: Limits) -> None:
    more, less, exempt, other = (User.objects.create(username=name) for name in ("more", "less", "exempt", "other"))
    PersonalLimit.objects.create(policy="users", user=more, rate="4/m")
    PersonalLimit.objects.create(policy="users", user=less, rate="1/m burst=1")
    PersonalLimit.objects.create(policy="users", user=exempt, exempt=True)
    limits.background.sync()
    assert [allowed(limits, user=str(user.pk)) for user in (more, less, exempt, other)] == [4, 1, 5, 2]


def test_the_most_generous_group_counts_and_a_user_s_own_limit_before_it(limits: Limits) -> None:
    gold, silver = Group.objects.create(name="gold"), Group.objects.create(name="silver")
    PersonalLimit.objects.create(policy="users", group=gold, rate="4/m")
    PersonalLimit.objects.create(policy="users", group=silver, rate="3/m")
    ann, ben = User.objects.create(username="ann"), User.objects.create(username="ben")
    for user in (ann, ben):
        user.groups.add(gold, silver)
    PersonalLimit.objects.create(policy="users", user=ben, rate="1/m")
    limits.background.sync()
    assert [allowed(limits, user=str(user.pk)) for user in (ann, ben)] == [4, 1]


def test_an_api_key_has_its_own_and_is_not_kept(limits: Limits) -> None:
    PersonalLimit.objects.create(policy="keys", key_digest=digest_of("the key"), rate="4/m")
    limits.background.sync()
    assert [allowed(limits, key=key, name="keys") for key in ("the key", "another")] == [4, 2]


def test_no_request_makes_a_query(limits: Limits) -> None:
    user = User.objects.create(username="ann")
    PersonalLimit.objects.create(policy="users", user=user, rate="4/m")
    limits.background.sync()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        allowed(limits, user=str(user.pk))
    assert len(queries) == 0


@pytest.mark.parametrize("what", ["save", "delete", "group"])
def test_a_change_reaches_another_process_at_its_next_look(
    limits: Limits, what: str, django_capture_on_commit_callbacks: Any
) -> None:
    """`other` is what another process has: it knows only what Redis and the database tell it."""
    user, group = User.objects.create(username="ann"), Group.objects.create(name="gold")
    personal = PersonalLimit.objects.create(policy="users", user=user, rate="5/m")
    PersonalLimit.objects.create(policy="users", group=group, rate="3/m")
    policies, _ = service.configured()
    other = Limits(policies)
    other.background.sync()
    assert allowed(other, 1, user=str(user.pk)) == 1
    with CaptureQueriesContext(connection) as queries:
        other.background.sync()
    assert len(queries) == 0, "nothing changed, and it looked into the database all the same"
    with django_capture_on_commit_callbacks(execute=True):
        if what == "save":
            personal.rate = "1/m"
            personal.save()
        elif what == "delete":
            personal.delete()
        else:
            user.groups.add(group)
            PersonalLimit.objects.filter(pk=personal.pk).delete()
    other.background.sync()
    table = {rate.count for (_, identity), rate in other.personal.items() if identity == f"user:{user.pk}" and rate}
    assert table == {"save": {1}, "delete": set(), "group": {3}}[what]


def test_a_raised_limit_counts_at_once_for_who_was_denied(limits: Limits) -> None:
    user = User.objects.create(username="ann")
    assert allowed(limits, 3, user=str(user.pk)) == 2
    PersonalLimit.objects.create(policy="users", user=user, rate="10/m")
    limits.background.sync()
    assert allowed(limits, 3, user=str(user.pk)) == 3


def test_without_redis_the_database_is_looked_at_all_the_same(limits_settings: Any, mortal_redis: Any) -> None:
    limits_settings.RATE_LIMIT_REDIS_URL = mortal_redis.url
    limits_settings.RATE_LIMITS = POLICIES
    limits = get_limits()
    limits.background.sync()
    mortal_redis.kill()
    user = User.objects.create(username="ann")
    PersonalLimit.objects.create(policy="users", user=user, exempt=True)
    limits.background.sync()
    assert limits.personal == {("users", f"user:{user.pk}"): None}


def test_what_makes_no_sense_is_refused(limits: Limits) -> None:
    user = User.objects.create(username="ann")
    with pytest.raises(ValidationError):
        PersonalLimit.objects.create(policy="users", user=user, rate="many")
    for fields in ({}, {"user": user, "key_digest": "x"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            PersonalLimit.objects.create(policy="users", rate="1/m", **fields)
    with pytest.raises(ValidationError, match="exempt"):
        PersonalLimit(policy="users", user=user, rate="1/m", exempt=True).full_clean()


def test_living_processes_are_counted(limits: Limits) -> None:
    others = [Limits(limits.policies) for _ in range(2)]
    for number, other in enumerate(others):
        other.background._name = f"other-{number}"
        other.background.sync()
    limits.background.sync()
    assert limits.background.instances == 3


@pytest.mark.django_db(transaction=True)
def test_the_thread_looks_by_itself(limits_settings: Any) -> None:
    limits_settings.RATE_LIMIT_BACKGROUND_SYNC = True
    limits_settings.RATE_LIMITS = POLICIES
    limits, looked = get_limits(), threading.Event()
    limits.background._load = lambda: looked.set() or True  # type: ignore[method-assign,func-returns-value]
    allowed(limits, 1)
    assert looked.wait(10)
    service.reset_limits()
