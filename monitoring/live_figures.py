"""Live figures of this instance, published every two seconds into a channel of the platform's own.

Staff may subscribe to it and nobody may publish into it (its namespace allows nothing else); it keeps no history: every
ten seconds a sample goes into that of `figure_history`. Rates and quantiles are of the time since the figures before,
made here from the same counts that Prometheus reads.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import psutil

from flotilla.monitoring import figure_history
from flotilla.ratelimit.http.responses import refusals
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.node.node import Node, current_node
from flotilla.realtime.protocol.codes import ErrorCode
from flotilla.realtime.protocol.replies import publication_body
from flotilla.store import StoreUnavailable
from flotilla.store.conf import get_store_config
from flotilla.store.stats import TIMES, quantile
from flotilla.store.supervised import SupervisedTask

logger = logging.getLogger("flotilla.monitoring.live_figures")

NAMESPACE = "flotilla"
CHANNEL = f"{NAMESPACE}:cluster"
OPTIONS = ChannelOptions(subscribe_permission="flotilla.monitoring.live_figures.may_watch")
EVERY = 2.0  # seconds


async def may_watch(user: Any, channel: str, info: Any) -> bool:
    """Staff, and in the one channel of the namespace alone."""
    return channel == CHANNEL and bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What has been counted up to a moment (monotonic seconds)."""

    at: float
    received: int
    written: int
    denied: int
    delivered_in: tuple[int, ...]  # deliveries by bucket of TIMES
    cpu: float  # seconds
    admitted: int = 0


def snapshot(node: Node) -> Snapshot:
    """The counts now."""
    stats, hub, cpu = node.stats, node.hub, time.process_time()
    denied = stats.errors[ErrorCode.TOO_MANY_REQUESTS] + refusals.total
    received = sum(stats.commands.values())
    return Snapshot(
        time.monotonic(),
        received,
        hub.delivered,
        denied,
        tuple(hub.stats.latency.counts),
        cpu,
        node.admission.admitted.total,
    )


def figures(before: Snapshot, now: Snapshot) -> dict[str, float | None]:
    """Rates per second and quantiles in ms between two snapshots; a quantile of nothing is None."""
    seconds = max(now.at - before.at, 1e-3)
    counts = [after - earlier for earlier, after in zip(before.delivered_in, now.delivered_in, strict=True)]
    found: dict[str, float | None] = {
        "received": round((now.received - before.received) / seconds, 1),
        "written": round((now.written - before.written) / seconds, 1),
        "denied": round((now.denied - before.denied) / seconds, 1),
        "admitted": round((now.admitted - before.admitted) / seconds, 1),
        "cpu": round((now.cpu - before.cpu) / seconds, 3),
    }
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        value = quantile(share, TIMES, counts)
        found[name] = None if value is None else round(value * 1000, 2)
    return found


class Publisher(SupervisedTask):
    """Publishes from `start` to `stop`. Live figures that Redis does not take are dropped, not kept."""

    def __init__(self) -> None:
        super().__init__("live-figures", self._publish)

    async def _publish(self) -> None:
        process, recorder = psutil.Process(), figure_history.Recorder()
        before: Snapshot | None = None
        sampled: Snapshot | None = None
        while True:
            await asyncio.sleep(EVERY)
            node = current_node()
            if node is None:
                continue
            now = snapshot(node)
            if before is not None:
                await _send(node, _state(node, process) | figures(before, now))
                if sampled is None or now.at - sampled.at >= figure_history.EVERY:
                    recorder.add(_state(node, process) | figures(sampled or before, now))
                    sampled = now
                    await recorder.send(node.broker)
            before = now


def _state(node: Node, process: psutil.Process) -> dict[str, Any]:
    return {
        "instance": get_store_config().instance_id,
        "connections": len(node.clients),
        "memory": process.memory_info().rss,
        "draining": node.leaving,
        "admission_peak": node.admission.peak,
    }


async def _send(node: Node, found: dict[str, Any]) -> None:
    try:
        await node.broker.publish(
            CHANNEL, publication_body(msgspec.json.encode(found)), options_for(CHANNEL, node.config)
        )
    except StoreUnavailable:
        pass  # the next figures follow in two seconds
    except Exception:
        logger.exception("the live figures could not be published")


publisher = Publisher()
