"""Each configuration that is shipped limits all that costs Redis something, and no ordinary client meets a limit."""

import tomllib
from typing import Any

import pytest

from flotilla.ratelimit.policies import Policy, read_policies
from flotilla.realtime.conf import RealtimeConfig
from project import demo
from tests.deploy.test_files import DEPLOY

COSTS = ("connect", "subscribe", "publish", "history", "presence", "presence_stats", "rpc", "new_channel")
AT_ONCE = RealtimeConfig().max_channels
"""What a client that comes back with all its channels asks for in one message."""


SHIPPED: dict[str, dict[str, Any]] = {
    "docker-compose.yml": tomllib.loads((DEPLOY / "realtime.toml").read_text()),
    "kubernetes": tomllib.loads((DEPLOY / "kubernetes" / "realtime.toml").read_text()),
    "make run": demo.REALTIME | {"rate_limits": demo.RATE_LIMITS},
}


def guarding(name: str, command: str) -> list[Policy]:
    config = SHIPPED[name]
    policies, problems = read_policies(config["rate_limits"], config["namespaces"])
    assert problems == []
    wanted = {f"ws.{command}"} | ({"ws.command"} if command not in ("connect", "new_channel") else set())
    return [policy for policy in policies if wanted & set(policy.guards) and not policy.shadow]


@pytest.mark.parametrize("command", COSTS)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_command_that_costs_redis_something_is_limited(name: str, command: str) -> None:
    assert guarding(name, command), f"{name} lets a client {command} as often as it likes"


@pytest.mark.parametrize("command", [command for command in COSTS if command != "rpc"])
@pytest.mark.parametrize("name", SHIPPED)
def test_opening_more_connections_is_no_way_around(name: str, command: str) -> None:
    assert any(policy.key in ("ip", "user", "user_or_ip") for policy in guarding(name, command))


@pytest.mark.parametrize("command", ["subscribe", "history", "presence", "new_channel"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_client_with_all_the_channels_it_may_have_is_not_denied(name: str, command: str) -> None:
    assert all(policy.rate.quota >= AT_ONCE * policy.cost for policy in guarding(name, command))


def test_what_runs_here_is_limited_as_what_is_deployed() -> None:
    here = {name: limit for name, limit in demo.RATE_LIMITS.items() if name != "logins"}
    assert here == SHIPPED["docker-compose.yml"]["rate_limits"]
