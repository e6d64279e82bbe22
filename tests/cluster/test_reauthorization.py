"""Access that ends while people are connected: changed in another process, felt at every instance, by nobody else."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.cluster.support import sdk
from tests.cluster.support.harness import CONFIG, Cluster, manage, running
from tests.cluster.support.raw_client import RawClient, token

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]
ENDED = {"code": 2103, "reason": "permission denied"}
ANN, BEN, EVE = "101", "102", "103"
OTHERS = iter(range(104, 110))
MODELS = """
from django.contrib.auth.models import User
from tests.cluster.support.clusterapp.models import Membership
"""
PEOPLE = """
for pk in range(101, 110):
    user = User.objects.create(pk=pk, username=f"user{pk}")
    for club in ("chess", "go"):
        Membership.objects.create(user=user, club=club)
"""


@pytest.fixture
def member() -> str:
    """Somebody whom no other test touches."""
    return str(next(OTHERS))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances that look at everybody's access every two seconds, and members of two clubs."""
    config = CONFIG | {"recheck_interval": 2}
    with running(Cluster(tmp_path_factory.mktemp("pair"), config, "flotilla", "flotilla")) as cluster:
        manage(cluster.env, "shell", "--verbosity", "0", "-c", MODELS + PEOPLE)
        yield cluster


async def shell(cluster: Cluster, code: str) -> None:
    """Run Django code in a process that serves nobody."""
    await asyncio.to_thread(manage, cluster.env, "shell", "--verbosity", "0", "-c", MODELS + code)


async def members(stack: AsyncExitStack, cluster: Cluster, *users: str) -> list[RawClient]:
    """Each user at each instance, in both clubs."""
    clients = []
    for user in users:
        for instance in cluster.instances:
            client = await stack.enter_async_context(RawClient(instance.url))
            await client.connect(user)
            for club in ("chess", "go"):
                await client.subscribe(f"club:{club}")
            clients.append(client)
    return clients


async def test_what_is_revoked_ends_everywhere_and_nobody_else_notices(pair: Cluster) -> None:
    """By a deleted row, a bulk update, a deactivated and a deleted user."""
    async with AsyncExitStack() as stack:
        ann1, ann2, ben1, ben2, eve1, eve2 = await members(stack, pair, ANN, BEN, EVE)
        await shell(pair, f"Membership.objects.get(user_id={ANN}, club='chess').delete()")
        for client in (ann1, ann2):
            assert await client.push("unsubscribe", "club:chess") == ENDED
            assert await client.error("subscribe", channel="club:chess") == 103
        await shell(pair, f"Membership.objects.filter(user_id={ANN}).update(club='draughts')")  # no signal: the rounds
        for client in (ann1, ann2):
            assert await client.push("unsubscribe", "club:go") == ENDED
            await client.round_trip()
        await shell(pair, f"user = User.objects.get(pk={BEN})\nuser.is_active = False\nuser.save()")
        for client in (ben1, ben2):
            assert await client.closed() == (3507, "user deactivated")
        for client in (eve1, eve2):
            assert client.pushes("club:chess", "unsubscribe") == client.pushes("club:go", "unsubscribe") == []
        await shell(pair, f"User.objects.get(pk={EVE}).delete()")
        assert {await client.closed() for client in (eve1, eve2)} == {(3507, "user deleted")}


async def test_official_clients_do_not_come_back(pair: Cluster, make_client: sdk.MakeClient, member: str) -> None:
    """Neither into the channel nor, once thrown out, at all."""
    client = make_client(pair[0].url, lambda _: token(member))
    await client.connect()
    await client.subscribe("club:chess")
    await client.seen.event("subscribed", "club:chess")
    await shell(pair, f"Membership.objects.filter(user_id={member}, club='chess').delete()")
    assert (await client.seen.event("unsubscribed", "club:chess"))["code"] == 2103
    await shell(pair, f"user = User.objects.get(pk={member})\nuser.is_active = False\nuser.save()")
    assert (await client.seen.event("disconnected"))["code"] == 3507


async def test_a_shell_explains(pair: Cluster, member: str) -> None:
    """What a member may and a stranger may not."""
    said = await asyncio.to_thread(manage, pair.env, "explain_access", f"user{member}", "club:chess")
    assert "subscribe_permission: tests.cluster.support.clusterapp.permissions.is_member: yes" in said
    assert "subscribe: allowed" in said
    with pytest.raises(AssertionError, match="ended with 1") as refused:
        await asyncio.to_thread(manage, pair.env, "explain_access", f"user{member}", "club:bridge")
    assert "subscribe: denied (permission denied)" in str(refused.value)
