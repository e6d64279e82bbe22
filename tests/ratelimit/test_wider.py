"""The wider bound beside policies whose identities can be made up: values of a header, addresses of an IPv6 network."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.test import RequestFactory
from django_ratelimit.exceptions import Ratelimited

from flotilla.ratelimit import inspection
from flotilla.ratelimit.algorithms.rates import FASTEST, MAX_COUNT, parse_rate
from flotilla.ratelimit.http.addresses import wide
from flotilla.ratelimit.http.decorators import ratelimit
from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.policies import WIDER, read_policies
from flotilla.ratelimit.service import Limits, get_limits
from flotilla.ratelimit.subjects import Subject, digest_of
from tests.ratelimit.test_limiter import calls

KEYS = {"guards": "http", "key": "header:X-API-Key", "rate": "4/h"}
ADDRESSES = {"guards": "http", "key": "ip", "rate": "4/h"}


@pytest.fixture
def limits_of(limits_settings: Any) -> Callable[..., Limits]:
    def made(**policies: dict[str, Any]) -> Limits:
        limits_settings.RATE_LIMITS = policies
        return get_limits()

    return made


def by_key(key: str, ip: str = "192.0.2.1") -> Subject:
    return Subject(ip=ip, header=lambda _: key)


def admitted(limits: Limits, subjects: Iterable[Subject]) -> int:
    """How many of them pass all policies."""
    return sum(limits.limiter.decide_sync(limits.claims(limits.policies, subject)).allowed for subject in subjects)


def test_values_of_a_header_that_somebody_makes_up_are_bounded_together(limits_of: Callable[..., Limits]) -> None:
    limits = limits_of(keys=KEYS)
    made_up = [by_key(f"random {number}") for number in range(WIDER * 4 + 60)]
    assert admitted(limits, made_up) == WIDER * 4
    assert admitted(limits, [by_key("random again", "192.0.2.2")] * 9) == 4, "another address has its own"


def test_leaving_the_header_out_is_no_way_around(limits_of: Callable[..., Limits]) -> None:
    limits = limits_of(keys=KEYS)
    assert admitted(limits, [by_key("")] * 9) == 4


def test_each_of_as_many_keys_at_one_address_has_its_whole_quota(limits_of: Callable[..., Limits]) -> None:
    """Nobody who keeps within it gets less than is promised."""
    limits = limits_of(keys=KEYS)
    for number in range(WIDER):
        assert admitted(limits, [by_key(f"partner {number}")] * 6) == 4


def test_who_is_held_by_the_wider_bound_pays_nothing_for_it(limits_of: Callable[..., Limits]) -> None:
    limits = limits_of(keys=KEYS | {"wider": 1})
    assert admitted(limits, [by_key("a")] * 4) == 4
    assert admitted(limits, [by_key("b")] * 3) == 0
    assert admitted(limits, [by_key("b", "192.0.2.2")] * 9) == 4


@pytest.mark.parametrize("rate", ["4/h", "4/h burst=4"])
@pytest.mark.parametrize("key", ["ip", "user_or_ip", "header:X-API-Key"])
def test_networks_of_one_ipv6_site_are_bounded_together(limits_of: Callable[..., Limits], rate: str, key: str) -> None:
    limits = limits_of(some=ADDRESSES | {"rate": rate, "key": key})
    site = [by_key("", f"2001:db8:7:{number:x}::1") for number in range(WIDER * 4 + 60)]
    assert admitted(limits, site) == WIDER * 4
    assert admitted(limits, [by_key("", "2001:db8:8::1")] * 9) == 4


def test_made_up_keys_from_many_networks_of_a_site_are_bounded_together(limits_of: Callable[..., Limits]) -> None:
    limits = limits_of(keys=KEYS)
    site = [by_key(f"{number}", f"2001:db8:7:{number:x}::1") for number in range(WIDER * 4 + 60)]
    assert admitted(limits, site) == WIDER * 4


def test_an_ipv4_address_is_counted_once(limits_of: Callable[..., Limits]) -> None:
    """And who is signed in by user alone; whose address is not known, by key alone."""
    limits = limits_of(some=ADDRESSES | {"key": "user_or_ip"}, keys=KEYS)
    for subject, count in (
        (Subject(ip="192.0.2.1"), 2),
        (Subject(ip="::ffff:192.0.2.1"), 2),
        (Subject(ip="2001:db8::1", user="7"), 3),  # it has no key: its address counts, and its network
        (Subject(ip="2001:db8::1"), 4),
        (by_key("k", ""), 2),
    ):
        assert len(limits.claims(limits.policies, subject)) == count, subject


def test_it_is_part_of_the_same_question(limits_of: Callable[..., Limits], redis_process: Any) -> None:
    limits = limits_of(keys=KEYS)
    admitted(limits, [by_key("warm")])
    redis_process.ask("CONFIG", "RESETSTAT")
    admitted(limits, [by_key("a"), by_key("b")])
    assert calls(redis_process) == 2


@pytest.mark.parametrize(("wider", "passed"), [(0, 60), (1, 4), (3, 12)])
def test_it_can_be_set_and_switched_off(limits_of: Callable[..., Limits], wider: int, passed: int) -> None:
    limits = limits_of(keys=KEYS | {"wider": wider})
    assert admitted(limits, [by_key(f"random {number}") for number in range(60)]) == passed


@pytest.mark.django_db
def test_a_key_with_a_personal_limit_is_known_and_meets_no_wider_bound(limits_of: Callable[..., Limits]) -> None:
    limits = limits_of(keys=KEYS | {"wider": 1})
    PersonalLimit.objects.create(policy="keys", key_digest=digest_of("partner"), rate="10/h")
    PersonalLimit.objects.create(policy="keys", key_digest=digest_of("ours"), exempt=True)
    limits.background.sync()
    assert admitted(limits, [by_key(f"random {number}") for number in range(9)]) == 4
    assert admitted(limits, [by_key("partner")] * 20) == 10
    assert admitted(limits, [by_key("ours")] * 20) == 20


@pytest.mark.django_db
def test_it_can_be_looked_at_and_reset_like_any_policy(limits_of: Callable[..., Limits]) -> None:
    limits = limits_of(keys=KEYS)
    admitted(limits, [by_key("a", "2001:db8:7:1::1"), by_key("b", "2001:db8:7:2::1")])
    policy, identity = limits.by_name["keys:wider"], inspection.read_identity("net:2001:db8:7::9")
    assert identity == inspection.read_identity("net:2001:db8:7::/48") == "net:2001:db8:7::/48"
    assert inspection.standing(policy, identity, policy.rate).remaining == WIDER * 4 - 3
    assert inspection.reset(policy, identity)
    assert inspection.standing(policy, identity, policy.rate).remaining == WIDER * 4 - 1


@pytest.mark.parametrize("key", ["header:X-API-Key", "get:key", "post:key", "ip"])
def test_decorators_have_it_too(limits_settings: Any, key: str) -> None:
    @ratelimit(key=key, rate="2/h", group=f"wider {key}", wider=3)
    def view(request: Any) -> str:
        return "ok"

    passed = 0
    for number in range(20):
        address = f"2001:db8:7:{number:x}::1"
        ask = RequestFactory().post if key == "post:key" else RequestFactory().get
        made_up = {"HTTP_X_API_KEY": str(number), "REMOTE_ADDR": address}
        try:
            view(ask("/", {"key": str(number)}, **made_up))
            passed += 1
        except Ratelimited:
            pass
    assert passed == 6


@pytest.mark.parametrize(
    ("address", "as_"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
    ],
)
def test_how_wide(address: str, as_: str) -> None:
    assert wide(address) == as_


def test_a_wider_rate_stays_one_that_can_be(names: Any) -> None:
    assert str(parse_rate("5/m").widened(32)) == "160/m"
    assert str(parse_rate("20/s burst=100").widened(32)) == "640/s burst=3200"
    assert parse_rate("100000/s burst=9").widened(32).count == FASTEST
    assert parse_rate(f"{MAX_COUNT}/d").widened(32).count == MAX_COUNT


@pytest.mark.parametrize("wider", [-1, 1.5, True, None, "3", 10**10])
def test_a_multiple_that_is_none_is_said(wider: object) -> None:
    _, (problem,) = read_policies({"keys": KEYS | {"wider": wider}})
    assert problem.path == "rate_limits.keys.wider"
    assert problem.hint


@pytest.mark.parametrize("key", ["user", "connection", "channel", lambda subject: "x"])
def test_where_it_has_no_effect_this_is_said(key: Any) -> None:
    _, (problem,) = read_policies({"p": {"guards": "ws.publish", "key": key, "rate": "1/s", "wider": 3}})
    assert problem.path == "rate_limits.p.wider"
    policies, problems = read_policies({"p": {"guards": "ws.publish", "key": key, "rate": "1/s", "wider": 0}})
    assert not problems
    assert not policies[0].has_wider
