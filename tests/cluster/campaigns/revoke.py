"""How long it takes until somebody whose access was revoked is out: `make revoke`.

Two instances, CONNECTIONS members of one club, each by a connection of their own. Another process deletes memberships
one by one (signals tell of that), then changes others with one `QuerySet.update()` (the rounds find that). Times run
from before the change to the client's receipt; whoever was not meant must have noticed nothing.
"""

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.cluster.support.harness import CONFIG, Cluster, manage, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient

CHANNEL = "club:chess"
INTERVAL = 10.0  # seconds: `recheck_interval`
AT_ONCE = 50  # clients connecting side by side

MEMBERS = """
from django.contrib.auth.models import User
from tests.cluster.support.clusterapp.models import Membership
User.objects.bulk_create(User(pk=pk, username=f"user{{pk}}") for pk in range(1, {count} + 1))
Membership.objects.bulk_create(Membership(user_id=pk, club="chess") for pk in range(1, {count} + 1))
"""
REVOKE = """
import json, time
from tests.cluster.support.clusterapp.models import Membership
times = {{}}
for pk in range(1, {each} + 1):
    times[pk] = time.time()
    Membership.objects.get(user_id=pk).delete()
print(json.dumps(times))
"""
UPDATE = """
import json, time
from tests.cluster.support.clusterapp.models import Membership
now = time.time()
Membership.objects.filter(user_id__gt={each}, user_id__lte=2 * {each}).update(club="go")
print(json.dumps({{pk: now for pk in range({each} + 1, 2 * {each} + 1)}}))
"""


class Member(RawClient):
    """A client that notes when it was thrown out."""

    ended: float = 0.0

    async def _take(self, message: dict[str, Any]) -> None:
        if not self.ended and "unsubscribe" in message.get("push", {}):
            self.ended = time.time()
        await super()._take(message)


async def measure(cluster: Cluster, connections: int, each: int) -> None:
    async with AsyncExitStack() as stack:
        members: dict[int, Member] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def join(pk: int) -> None:
            async with gate:
                member = await stack.enter_async_context(Member(cluster[pk % 2].url))
                await member.connect(str(pk))
                await member.subscribe(CHANNEL)
                members[pk] = member

        await asyncio.gather(*(join(pk) for pk in range(1, connections + 1)))
        print(f"{connections} members are in, over two instances")
        for what, code in (("one by one, with signals", REVOKE), ("in bulk, without", UPDATE)):
            said = await asyncio.to_thread(
                manage, cluster.env, "shell", "--verbosity", "0", "-c", code.format(each=each)
            )
            changed = {int(pk): at for pk, at in json.loads(said.splitlines()[-1]).items()}
            out = [members[pk] for pk in changed]
            await eventually(lambda out=out: all(member.ended for member in out), "all are out", 3 * INTERVAL)
            waits = sorted(members[pk].ended - at for pk, at in changed.items())
            print(f"{len(waits)} revoked {what}: p50 {waits[len(waits) // 2]:.3f} s, ", end="")
            print(f"p99 {waits[int(len(waits) * 0.99)]:.3f} s, most {waits[-1]:.3f} s")
        disturbed = [pk for pk, member in members.items() if pk > 2 * each and member.ended]
        lost = [pk for pk, member in members.items() if member._over]
        print(f"others disturbed: {len(disturbed)}; connections lost: {len(lost)}")
        assert not disturbed and not lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--revoked", type=int, default=100, help="one by one, and as many in bulk")
    options = parser.parse_args()
    limits = {"recheck_interval": INTERVAL, "recheck_per_second": 1000, "ping_interval": 25, "pong_timeout": 8}
    with (
        tempfile.TemporaryDirectory(prefix="flotilla-revoke-") as home,
        running(Cluster(Path(home), CONFIG | limits, "flotilla", "flotilla")) as cluster,
    ):
        manage(cluster.env, "shell", "--verbosity", "0", "-c", MEMBERS.format(count=options.connections))
        asyncio.run(measure(cluster, options.connections, options.revoked))


if __name__ == "__main__":
    main()
