"""The faults of a campaign on a Redis Cluster: those of one Redis, which hit one master, and those of the cluster.

A master that is away for longer than the nodes' time-out has another in its place, which may lack what was written
last, because a node answers before its replica has it: that such a fault loses something is allowed where it is told.
What the nodes agree on (a planned failover, a slot that moves) loses nothing. How long it takes from its end until
everybody gets again what is published is noted for each (`Healed`).
"""

import asyncio
import signal
from dataclasses import replace

from tests.chaos.faults import FAULTS, SERVERS, Choice, Fault, Stage, nothing
from tests.chaos.log import Healed
from tests.chaos.nodes import Nodes, Share, moved

NOT_MADE = ("redis read-only",)  # a node of a cluster refuses REPLICAOF
MAY_FAIL_OVER = ("redis killed", "redis busy", "redis hung")  # the master may be away for longer than the time-out
HEALED_WITHIN = 15.0  # seconds
SOON = 0.05


def _nodes(stage: Stage) -> Nodes:
    assert stage.world.nodes is not None
    return stage.world.nodes


def _share(stage: Stage, choice: Choice) -> Share:
    share = stage.world.stores[choice.shard]
    assert isinstance(share, Share)
    return share


async def _healed(stage: Stage, name: str, began: float) -> None:
    """Wait until everybody gets what is published from now on, and note how long that took."""
    log = stage.world.log
    ended = log.now
    while (missing := stage.crowd.missing(ended)) and log.now < ended + HEALED_WITHIN:
        await asyncio.sleep(SOON)
    log.append(Healed(log.now, name, ended - began, log.now - ended, missing))


async def _master_killed(stage: Stage, choice: Choice) -> None:
    share, began = _share(stage, choice), stage.world.log.now
    await asyncio.to_thread(share.kill)
    await asyncio.to_thread(share.replaced)
    await _healed(stage, "master killed", began)


async def _master_back(stage: Stage, choice: Choice) -> None:
    await asyncio.to_thread(_nodes(stage).make_whole)


async def _master_paused(stage: Stage, choice: Choice) -> None:
    share, began = _share(stage, choice), stage.world.log.now
    share.send(signal.SIGSTOP)
    await asyncio.to_thread(share.replaced)
    await _healed(stage, "master paused", began)


async def _master_resumed(stage: Stage, choice: Choice) -> None:
    """It still takes itself for the master, until another node tells it otherwise."""
    _share(stage, choice).send(signal.SIGCONT)
    await asyncio.to_thread(_nodes(stage).make_whole)


async def _planned_failover(stage: Stage, choice: Choice) -> None:
    share, began = _share(stage, choice), stage.world.log.now
    await asyncio.to_thread(lambda: _nodes(stage).cluster.fail_over(share.take()))
    await asyncio.to_thread(share.replaced)
    await _healed(stage, "planned failover", began)


async def _slots_moved(stage: Stage, choice: Choice) -> None:
    share, began = _share(stage, choice), stage.world.log.now
    await moved(share, _nodes(stage), 1 + int(choice.force * len(share.slots) * 0.99))
    await _healed(stage, "slots moved", began)


async def _replica_killed(stage: Stage, choice: Choice) -> None:
    nodes, share = _nodes(stage), _share(stage, choice)
    replica = await asyncio.to_thread(lambda: nodes.cluster.replica_of(share.take()))
    await asyncio.to_thread(replica.kill)


def _on_a_cluster(fault: Fault) -> Fault:
    return replace(fault, lossless=fault.lossless and fault.name not in MAY_FAIL_OVER)


CLUSTER_FAULTS = (
    *(_on_a_cluster(fault) for fault in FAULTS if fault.name not in NOT_MADE),
    Fault("master killed", SERVERS, "redis", (0.2, 1.0), _master_killed, _master_back, lossless=False, away=True),
    Fault("master paused", SERVERS, "redis", (0.2, 1.5), _master_paused, _master_resumed, lossless=False, away=True),
    Fault("planned failover", SERVERS, "redis", (0.1, 0.2), _planned_failover, nothing, away=True),
    Fault("slots moved", SERVERS, "redis", (0.1, 0.2), _slots_moved, nothing, away=True),
    Fault("replica killed", SERVERS, "redis", (0.5, 3.0), _replica_killed, _master_back),
)
