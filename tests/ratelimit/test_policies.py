"""Policies as configured: what is read, and that every fault is named with its mend, at the start."""

from typing import Any

import pytest
from django.core.checks import run_checks

from flotilla.ratelimit.algorithms.rates import Rate
from flotilla.ratelimit.policies import read_policies
from flotilla.ratelimit.subjects import Subject, identity_of

GOOD: dict[str, Any] = {"guards": "http", "key": "ip", "rate": "100/m"}


def test_a_policy_has_defaults() -> None:
    (policy,), problems = read_policies({"all": GOOD})
    assert not problems
    assert (policy.rate, policy.cost, policy.failure, policy.shadow) == (Rate(100, 60), 1, "open", False)


def test_burst_may_stand_apart_and_guards_be_several() -> None:
    options = {"guards": ["ws.publish", "ws.subscribe:chat"], "key": "user", "rate": "20/s", "burst": 40, "cost": 2}
    (policy,), problems = read_policies({"p": options}, {"chat"})
    assert not problems
    assert (policy.rate, policy.guards, policy.cost) == (Rate(20, 1, 40), ("ws.publish", "ws.subscribe:chat"), 2)


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"rate": "100/x"}, "rate", "Write count/period"),
    ({"rate": None}, "rate", "Write count/period"),
    ({"rate": "100/m burst=3", "burst": 4}, "rate", "Write count/period"),
    ({"burst": 0}, "burst", "Write one"),
    ({"key": "ipp"}, "key", "header:NAME"),
    ({"key": "no.such.function"}, "key", "header:NAME"),
    ({"key": "flotilla.ratelimit.algorithms.rates.TICKS"}, "key", "header:NAME"),
    ({"key": "header:"}, "key", "header:X-API-Key"),
    ({"key": None}, "key", "header:NAME"),
    ({"key": "channel"}, "key", "Count requests by"),
    ({"guards": "ws.connect", "key": "user"}, "key", "Count handshakes by"),
    ({"guards": "ws.publsh"}, "guards", "Did you mean ws.publish?"),
    ({"guards": "namespace:nowhere"}, "guards", "chat"),
    ({"guards": "ws.publish:nowhere"}, "guards", "chat"),
    ({"guards": []}, "guards", "ws.connect"),
    ({"guards": "http:"}, "guards", "route-name"),
    ({"cost": 101}, "cost", "Lower it"),
    ({"cost": True}, "cost", "Write one"),
    ({"failure": "ajar"}, "failure", "open, closed, local"),
    ({"shadow": "yes"}, "shadow", "true"),
    ({"methods": "POST"}, "methods", "POST"),
    ({"guards": "ws.send", "methods": ["POST"]}, "methods", "guard http"),
    ({"rates": "1/s"}, "rates", "Did you mean rate?"),
]


@pytest.mark.parametrize(("change", "option", "mend"), FAULTS)
def test_every_fault_is_named_with_its_mend(change: dict[str, Any], option: str, mend: str) -> None:
    policies, problems = read_policies({"good": GOOD, "bad": GOOD | change}, {"chat"})
    assert [policy.name for policy in policies] == ["good"]
    assert [problem.path for problem in problems] == [f"rate_limits.bad.{option}"]
    assert mend in problems[0].hint


@pytest.mark.parametrize("raw", [[], "x", {"p": None}, {"a b": GOOD}, {"": GOOD}])
def test_what_is_no_configuration_is_refused(raw: object) -> None:
    assert read_policies(raw)[1]


def errors(settings: Any, **policies: Any) -> list[str]:
    settings.RATE_LIMITS = policies
    return [f"{message.id} {message.msg} {message.hint}" for message in run_checks(tags=["ratelimit"])]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            GOOD | {"rate": "many"},
            ["flotilla_ratelimit.E001", "bad.rate: 'many' is not a rate", "Write count/period"],
        ),
        (GOOD | {"key": "nobody"}, ["flotilla_ratelimit.E001", "rate_limits.bad.key", "header:NAME"]),
        (
            GOOD | {"guards": "http:no-such-route"},
            ["flotilla_ratelimit.E002", "rate_limits.bad.guards", "no-such-route"],
        ),
        (GOOD | {"guards": "http:admin:nope"}, ["flotilla_ratelimit.E002", "admin:nope"]),
        (GOOD | {"guards": "ws.publish:nowhere"}, ["flotilla_ratelimit.E001", "there is no namespace 'nowhere'"]),
        (GOOD | {"guards": "ws.new_channel:nowhere"}, ["flotilla_ratelimit.E001", "there is no namespace 'nowhere'"]),
        (GOOD | {"guards": "ws.new_chanel"}, ["flotilla_ratelimit.E001", "Did you mean ws.new_channel?"]),
    ],
)
def test_the_system_check_names_the_setting_and_the_mend(settings: Any, options: Any, words: list[str]) -> None:
    (found,) = errors(settings, bad=options)
    assert all(word in found for word in words), found


def test_the_system_check_passes_what_is_right(settings: Any) -> None:
    settings.RATE_LIMIT_TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert errors(settings, admin=GOOD | {"guards": ["http:admin:index", "http:/api/", "http", "ws.new_channel"]}) == []


def test_policies_in_the_realtime_configuration_are_judged_too(settings: Any) -> None:
    settings.REALTIME = {"rate_limits": {"bad": {"guards": "ws.publish", "key": "user", "rate": "fast"}}}
    found = [message.msg for message in run_checks(tags=["ratelimit"])]
    assert found == ["rate_limits.bad.rate: 'fast' is not a rate."]


def test_wrong_proxies_and_a_missing_middleware_are_named(settings: Any) -> None:
    settings.RATE_LIMIT_TRUSTED_PROXIES = ["10.0.0.0/99"]
    settings.MIDDLEWARE = []
    found = errors(settings, all=GOOD)
    assert [message.split()[0] for message in found] == ["flotilla_ratelimit.E003", "flotilla_ratelimit.E004"]
    assert "10.0.0.0/99" in found[0]


@pytest.mark.parametrize(
    ("key", "subject", "identity"),
    [
        ("ip", Subject(ip="2001:db8::5"), "ip:2001:db8::/64"),
        ("user", Subject(user="7"), "user:7"),
        ("user", Subject(ip="192.0.2.1"), None),
        ("user_or_ip", Subject(ip="192.0.2.1"), "ip:192.0.2.1"),
        ("user_or_ip", Subject(ip="192.0.2.1", user="7"), "user:7"),
        ("channel", Subject(channel="chat:a"), "channel:chat:a"),
        ("channel", Subject(), None),
        (lambda subject: None, Subject(), None),
        (lambda subject: "x", Subject(), "call:x"),
    ],
)
def test_whom_a_key_counts(key: Any, subject: Subject, identity: str | None) -> None:
    assert identity_of(key, subject) == identity


def test_a_secret_is_not_kept() -> None:
    identity = identity_of("header:X-API-Key", Subject(header=lambda name: "the secret"))
    assert identity is not None
    assert "secret" not in identity
