"""Chance: adds, removes, crashes, pauses and outages in any order; members and counts never drift apart."""

import asyncio
import random

import pytest

from flotilla.presence import Fenced
from flotilla.store import StoreUnavailable
from tests.presence.cluster import Ear, Instance, Maker, PrivateRedis, drifted, eventually, passes, without_ttl

pytestmark = pytest.mark.asyncio

SCOPES = ("c:one", "c:two", "u:ann")
USERS = ("ann", "bob", "", "x}y")


class Crowd:
    """Instances and what a perfect observer would say of their connections."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.instances: list[Instance] = []
        self.present: dict[tuple[Instance, str, str], tuple[str, bytes]] = {}
        self.number = 0

    async def enter(self) -> None:
        instance = self.chance.choice(self.instances)
        self.number += 1
        client, scope, user = f"c{self.number}", self.chance.choice(SCOPES), self.chance.choice(USERS)
        incarnation = instance.incarnation
        try:
            await instance.add(scope, client, user, client.encode())
        except (StoreUnavailable, Fenced):
            return
        if instance.incarnation == incarnation:
            self.present[instance, scope, client] = (user, client.encode())

    async def leave(self) -> None:
        if self.present:
            instance, scope, client = self.chance.choice(list(self.present))
            del self.present[instance, scope, client]
            await instance.remove(scope, client)

    def forget(self, instance: Instance) -> None:
        self.present = {key: value for key, value in self.present.items() if key[0] is not instance}

    async def some(self, steps: int) -> None:
        for _ in range(steps):
            what = self.chance.choices((self.enter, self.leave), weights=(2, 1), k=self.chance.randint(1, 6))
            await asyncio.gather(*(act() for act in what))

    async def agrees(self) -> bool:
        instance = self.instances[0]
        for scope in SCOPES:
            mine = {client: info for (_, where, client), (_, info) in self.present.items() if where == scope}
            users = {user for (_, where, _), (user, _) in self.present.items() if where == scope}
            if await instance.members(scope) != mine or await instance.stats(scope) != (len(mine), len(users)):
                return False
        return all(one.settled for one in self.instances)


@pytest.mark.parametrize("seed", range(3))
async def test_counts_never_drift_without_faults(make: Maker, server: PrivateRedis, ear: Ear, seed: int) -> None:
    crowd = Crowd(random.Random(seed))
    crowd.instances = [await make(name) for name in "ab"]
    for _ in range(10):
        await crowd.some(15)
        assert await crowd.agrees()
        assert drifted(server) == []
    joins, leaves = ear.joins, ear.leaves
    assert set(joins.values()) == {1} and set(leaves.values()) == {1}
    there = {(scope, info) for (_, scope, _), (_, info) in crowd.present.items()}
    assert set(joins) - set(leaves) == there and not set(leaves) - set(joins)


async def until_confident(instances: list[Instance]) -> None:
    await eventually(lambda: any(one.confident for one in instances), "confident")


@pytest.mark.parametrize("seed", range(4))
async def test_truth_returns_after_any_faults(make: Maker, server: PrivateRedis, seed: int) -> None:
    chance = random.Random(seed)
    crowd = Crowd(chance)
    crowd.instances = [await make(name) for name in "abc"]
    server.snapshot()
    for round_number in range(4):
        working = asyncio.create_task(crowd.some(60))
        fault = chance.choice(("crash", "freeze", "pause", "restart", "snapshot"))
        await passes(chance.uniform(0.0, 0.1))
        if fault == "crash":
            await working
            victim = crowd.instances.pop()
            await victim.crash()
            crowd.forget(victim)
            crowd.instances.insert(0, await make(f"new-{round_number}"))
        elif fault == "freeze":
            await working
            victim = chance.choice(crowd.instances)
            before = victim.incarnation
            await victim.freeze()
            await until_confident([one for one in crowd.instances if one is not victim])
            await passes(chance.uniform(0.0, 2.5))
            victim.thaw()
            await passes(0.3)
            if victim.incarnation != before:
                crowd.forget(victim)
        elif fault == "pause":
            server.pause()
            await passes(chance.uniform(0.0, 1.5))
            server.resume()
        else:
            server.snapshot() if fault == "snapshot" else None
            server.kill()
            server.start()
        await working
        await eventually(crowd.agrees, f"agreement after {fault}")
        assert drifted(server) == [], fault
        assert without_ttl(server) == [], fault


async def enter_at_last(instance: Instance, client: str) -> None:
    """As a client does that subscribes until it is let in."""
    while True:
        try:
            await instance.add("c:one", client, "ann", client.encode())
        except StoreUnavailable:
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("fault", ["none", "pause", "restart", "snapshot"])
async def test_who_comes_and_goes_quickly_is_where_it_was_asked_to_be_last(
    make: Maker, server: PrivateRedis, fault: str
) -> None:
    """The same connections again and again, without waiting, while Redis hangs or is restarted."""
    chance = random.Random(fault)
    a, b = await make("a", lease_ttl=4.0), await make("b", lease_ttl=4.0)
    names, asked = [f"c{number}" for number in range(6)], set[asyncio.Future[bool]]()
    server.snapshot()
    for step in range(120):
        client = chance.choice(names)
        if chance.random() < 0.5:
            asked.add(asyncio.ensure_future(a.add("c:one", client, "ann", client.encode())))
        else:
            asked.add(a.remove("c:one", client))
        if step == 60 and fault == "pause":
            server.pause()
            asyncio.get_running_loop().call_later(1.5, server.resume)
        elif step == 60 and fault != "none":
            server.snapshot() if fault == "snapshot" else None
            server.kill()
            server.start()
        await asyncio.sleep(0 if chance.random() < 0.7 else 0.01)
    stay, go = names[:3], names[3:]
    last = [*(asyncio.ensure_future(enter_at_last(a, client)) for client in stay)]
    await asyncio.sleep(0)
    asked |= {a.remove("c:one", client) for client in go}
    outcomes = await asyncio.gather(*asked, *last, return_exceptions=True)
    assert all(isinstance(outcome, bool | StoreUnavailable) or outcome is None for outcome in outcomes), outcomes

    async def agrees() -> bool:
        return a.settled and not a.busy and await b.members("c:one") == {name: name.encode() for name in stay}

    await eventually(agrees, f"agreement after {fault}")
    assert (a.fencings, b.fencings) == (0, 0)
    assert drifted(server) == [] and without_ttl(server) == []
