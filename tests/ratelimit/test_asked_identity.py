"""`ratelimit show` and `reset` are about the key that the policy counts by, of each kind, and about no other."""

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import Subject, digest_of

pytestmark = pytest.mark.django_db


def tenant(subject: Subject) -> str | None:
    """A project's own key: users of a firm share a quota; visitors are not counted."""
    return f"firm-{int(subject.user) % 10}" if subject.user else None


def by_request(subject: Subject) -> str | None:
    """One that wants the whole request."""
    return str(subject.request.path)


POLICIES = {
    "addresses": {"guards": "http:/a/", "key": "ip", "rate": "5/m"},
    "users": {"guards": "http:/b/", "key": "user", "rate": "5/m"},
    "either": {"guards": "http:/c/", "key": "user_or_ip", "rate": "5/m"},
    "rooms": {"guards": "ws.publish", "key": "channel", "rate": "5/m"},
    "sockets": {"guards": "ws.command", "key": "connection", "rate": "5/m"},
    "keys": {"guards": "ws.connect", "key": "header:X-API-Key", "rate": "5/m"},
    "firms": {"guards": "http:/d/", "key": f"{__name__}.tenant", "rate": "5/m"},
    "paths": {"guards": "http:/e/", "key": f"{__name__}.by_request", "rate": "5/m"},
}


@pytest.fixture(autouse=True)
def limited(limits_settings: Any) -> Any:
    limits_settings.RATE_LIMITS = POLICIES
    return limits_settings


def take(policy: str, times: int, **subject: Any) -> None:
    """As requests do."""
    limits = get_limits()
    policies = [one for one in limits.policies if one.name.partition(":")[0] == policy]
    for _ in range(times):
        limits.limiter.decide_sync(limits.claims(policies, Subject(**subject)))


def left(policy: str, whom: str) -> list[int]:
    """What `show` says is left: of the policy, and of its wider bound where there is one for this key."""
    return [one["left"] for one in shown("show", policy, whom)["standing"]]


def shown(*words: str) -> Any:
    out = StringIO()
    call_command("ratelimit", *words, "--json", stdout=out)
    return json.loads(out.getvalue())


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as failed:
        call_command("ratelimit", *words, stdout=StringIO())
    assert failed.value.returncode == 1
    return str(failed.value)


@pytest.mark.parametrize(
    ("policy", "subject", "written"),
    [
        ("addresses", {"ip": "192.0.2.1"}, ["ip:192.0.2.1", "192.0.2.1"]),
        ("users", {"user": "42"}, ["user:id:42", "id:42"]),
        ("either", {"user": "42", "ip": "192.0.2.1"}, ["user:id:42"]),
        ("either", {"ip": "192.0.2.1"}, ["ip:192.0.2.1", "192.0.2.1"]),
        ("rooms", {"channel": "chat:lobby"}, ["channel:chat:lobby", "chat:lobby"]),
        ("rooms", {"channel": "user:7"}, ["channel:user:7"]),
        ("keys", {"header": lambda _: "s3cret"}, ["header:s3cret", "s3cret", f"key:{digest_of('s3cret')}"]),
        ("keys", {"ip": "192.0.2.1"}, ["ip:192.0.2.1"]),
        ("firms", {"user": "42"}, ["user:id:42", "call:firm-2", "firm-2", "user:id:52"]),
    ],
)
def test_what_was_taken_is_what_is_shown(policy: str, subject: dict[str, Any], written: list[str]) -> None:
    """Under every way to write it; and it is that which is given back."""
    take(policy, 3, **subject)
    for whom in written:
        assert left(policy, whom)[0] == 2, whom
    assert shown("reset", policy, written[0])["reset"]["was_used"] is True
    assert left(policy, written[0])[0] == 5


def test_an_address_is_counted_by_its_network_and_beside_the_wider_bound() -> None:
    take("addresses", 3, ip="2001:db8:7::1")
    assert left("addresses", "ip:2001:db8:7::ffff") == [2, 32 * 5 - 3]
    assert left("addresses", "2001:db8:7::ffff") == [2, 32 * 5 - 3]
    assert left("addresses", "2001:db8:7:1::1") == [5, 32 * 5 - 3]
    for whom in ("net:2001:db8:7::9", "net:2001:db8:7::/48", "2001:db8:7:2::"):
        assert left("addresses:wider", whom) == [32 * 5 - 3]


@pytest.mark.parametrize(
    ("policy", "whom", "says"),
    [
        ("addresses", "user:id:42", "addresses counts by ip, never by user: write ip:ADDRESS."),
        ("users", "ip:192.0.2.1", "users counts by user, never by ip: write user:USER."),
        ("rooms", "user:id:42", "rooms counts by channel, never by user: write channel:NAME."),
        ("either", "channel:a", "either counts by user_or_ip, never by channel: write user:USER or ip:ADDRESS."),
        ("keys", "user:id:42", "write header:VALUE or key:DIGEST or ip:ADDRESS."),
        ("sockets", "connection:abc", "sockets counts each connection in its own process"),
        ("addresses", "ip:nowhere", "is not an address"),
        ("addresses", "192.0.2.0/24", "is a network"),
        ("firms", "ip:192.0.2.1", "firms does not concern 'ip:192.0.2.1': tenant returns None"),
        ("paths", "user:id:42", "by_request of paths cannot say it of 'user:id:42' alone (AttributeError"),
        ("users", "user:nobody", "There is no user 'nobody'"),
    ],
)
def test_a_key_by_which_nobody_is_counted_is_refused(policy: str, whom: str, says: str) -> None:
    """It would be found unused, as if its quota were whole."""
    assert says in refused("show", policy, whom)
    assert says in refused("reset", policy, whom)


def test_users_are_found_by_name_without_their_kind_where_only_users_are_counted() -> None:
    ann = User.objects.create(username="ann")
    take("users", 2, user=str(ann.pk))
    assert left("users", "ann") == left("users", "user:ann") == [3]
    (standing,) = shown("show", "users", "ann")["standing"]
    assert (standing["user"], standing["username"], standing["identity"]) == (str(ann.pk), "ann", f"user:{ann.pk}")


def test_a_personal_limit_below_the_cost_is_shown_as_it_counts(limited: Any) -> None:
    limited.RATE_LIMITS = {"dear": {"guards": "http:/a/", "key": "user", "rate": "50/m", "cost": 10}}
    ann = User.objects.create(username="ann")
    PersonalLimit.objects.create(policy="dear", user=ann, rate="2/m")
    (standing,) = shown("show", "dear", "ann")["standing"]
    assert (standing["left"], standing["allowed"], standing["usual_rate"]) == (2, True, "50/m")
