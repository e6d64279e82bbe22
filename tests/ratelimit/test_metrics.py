"""The metrics of the limits, as Prometheus gets them."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from flotilla.monitoring.limits import LimitsCollector
from flotilla.ratelimit.counts import OUTCOMES
from flotilla.ratelimit.service import get_limits, reset_limits
from flotilla.ratelimit.subjects import Subject


def page() -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(LimitsCollector())
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_each_policy_and_outcome_is_a_series_and_decisions_are_timed(limits_settings: Any) -> None:
    limits_settings.RATE_LIMITS = {"few": {"guards": "http", "key": "ip", "rate": "10/m burst=5"}}
    limits = get_limits()
    for _ in range(8):
        limits.limiter.decide_sync(limits.claims(limits.policies, Subject(ip="192.0.2.1")))
    found = page()
    outcomes = {n.partition('outcome="')[2].partition('"')[0]: v for n, v in found.items() if "decisions_total" in n}
    assert {name: count for name, count in outcomes.items() if count} == {"allowed": 3, "near": 2, "denied": 3}
    assert set(outcomes) == set(OUTCOMES), "one that has not happened yet is told as 0"
    assert found["flotilla_ratelimit_remembered_total"] == 2
    assert found["flotilla_ratelimit_decision_seconds_count"] == 6
    assert found['flotilla_ratelimit_decision_seconds_bucket{le="+Inf"}'] == 6
    assert found["flotilla_ratelimit_decision_seconds_sum"] > 0
    assert found["flotilla_ratelimit_redis_away"] == 0


def test_before_anything_is_limited_there_is_nothing(limits_settings: Any) -> None:
    reset_limits()
    assert page() == {}
