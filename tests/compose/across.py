"""The stack as a newcomer finds it: whole, and one cluster for clients of both SDKs behind one address."""

import json
import urllib.request
from collections.abc import Callable

import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.sdk import PythonClient, SdkClient
from tests.compose.engine import docker
from tests.compose.stack import BACKENDS, Stack, served_by

pytestmark = [pytest.mark.timeout(900)]  # the first of them may have to pull and build

CHANNEL = "open:across"


async def test_clients_of_both_instances_talk_to_each_other(stack: Stack, clients: list[SdkClient]) -> None:
    """Connect, send, broadcast: whoever serves them."""
    assert {client.seen.instance for client in clients} == set(BACKENDS), "the balancer gave all to one"
    for client in clients:
        await client.subscribe(CHANNEL)
        await client.seen.event("subscribed", CHANNEL)
    for client in clients:
        await client.publish(CHANNEL, f"from {client.name}")
    async with Api(stack.http) as api:
        await api.say(CHANNEL, "from the API")
    everything = [*(f"from {client.name}" for client in clients), "from the API"]
    for client in clients:
        await client.seen.event("publication", CHANNEL, data="from the API")
        assert client.seen.published(CHANNEL) == everything
    present = await clients[0].presence(CHANNEL)
    assert set(present["clients"]) == {client.seen.client for client in clients}


async def test_whoever_comes_back_to_the_other_instance_has_missed_nothing(stack: Stack) -> None:
    """A client whose connection is lost goes on where it was, wherever it lands."""
    channel = "open:back"
    client = PythonClient(stack.url, lambda _: token("ann"))
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    seen = {client.seen.instance}
    try:
        async with Api(stack.http) as api:
            for number in range(1, 7):
                await api.say(channel, 2 * number - 1)
                await client.seen.event("publication", channel, data=2 * number - 1)
                await client.disconnect()
                await api.say(channel, 2 * number)
                await client.connect()
                await client.seen.event("publication", channel, data=2 * number)
                seen.add(client.seen.instance)
    finally:
        await client.close()
    assert client.seen.published(channel) == list(range(1, 13))
    assert seen <= set(BACKENDS)


async def test_requests_go_to_both(stack: Stack) -> None:
    """Also those that are no WebSocket."""
    found: set[str] = set()
    await eventually(lambda: found.add(served_by(stack.http)) or found >= set(BACKENDS), "both answer")


async def test_prometheus_and_grafana_have_what_is_shipped(stack: Stack) -> None:
    """Every instance and the balancer are watched, and each dashboard is there."""
    health = {target["labels"]["instance"]: target["health"] for target in stack.prometheus.targets()}
    assert health == {"backend1:9400": "up", "backend2:9400": "up", "haproxy:8404": "up"}
    names = {rule["name"] for rule in stack.prometheus.rules()}
    assert "readiness_down" in names
    assert stack.prometheus.alertmanagers()
    with urllib.request.urlopen(f"{stack.grafana}/api/search", timeout=5) as response:
        titles = [found["title"] for found in json.load(response)]
    assert sum(title.startswith("Flotilla") for title in titles) == 6


async def test_no_container_is_more_than_it_must_be(stack: Stack) -> None:
    """No root, no capability, nothing writable but what is named, a bound on memory."""
    for service in stack.compose("ps", "--services").split():
        found = json.loads(docker("inspect", stack.container(service)))[0]
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["Memory"] > 0, service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        user = stack.compose("exec", "-T", service, *_who(service)).split()
        assert user and "0" not in user, (service, user)


def _who(service: str) -> list[str]:
    """The user ids of the first process."""
    return ["sh", "-c", "grep ^Uid: /proc/1/status | cut -f2-5 | tr '\\t' '\\n'"]


async def test_a_third_instance_is_one_command(stack: Stack, say: Callable[[str], None]) -> None:
    """HAProxy and Prometheus find it, and they forget it when it is gone."""
    try:
        stack.compose("--profile", "third", "up", "--detach", "--wait", "--no-deps", "backend3")
        await eventually(lambda: served_by(stack.http) == "backend3", "the third serves", within=30)
        await eventually(lambda: stack.ready_instances() == 3, "Prometheus has found it", within=60)
    finally:
        stack.compose("--profile", "third", "rm", "--stop", "--force", "backend3")
    await eventually(lambda: stack.ready_instances() == 2, "nobody misses it", within=60)
    assert not stack.alarmed()
