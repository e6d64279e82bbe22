"""How this instance is: its event loop, its Redis, its deliveries and its clients, measured over some seconds."""

import asyncio
import time
from typing import Any

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.intervals import MAX_SECONDS
from flotilla.store.stats import Histogram, quantile


class AskVitals(Command, tag="vitals", kw_only=True):
    """Over so many seconds."""

    seconds: float = 1.0


async def carry_out(node: NodeParts, command: AskVitals) -> dict[str, Any]:
    """Times in ms: `lag` at most, `delivery` at p99 (None: nothing was delivered), `redis` at p99 by its index; `cpu`
    in cores; rates a second; `waiting` bytes; `failing` checks."""
    stores = [shard.stats for shard in node.store.shards]
    histograms = [node.vitals.lag, node.hub.stats.latency, *(stats.round_trip for stats in stores)]
    before = [list(one.counts) for one in histograms]
    errors, given_up = _errors(node), [stats.unavailable for stats in stores]
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(max(0.0, min(command.seconds, MAX_SECONDS)))
    passed = max(time.monotonic() - began, 1e-3)
    lag, delivery, *redis = [
        _milliseconds(one, counts, 1.0 if one is node.vitals.lag else 0.99)
        for one, counts in zip(histograms, before, strict=True)
    ]
    return {
        "lag": lag,
        "delivery": delivery,
        "redis": redis,
        "redis_given_up": [stats.unavailable - old for stats, old in zip(stores, given_up, strict=True)],
        "cpu": round((time.process_time() - cpu) / passed, 2),
        "errors": round((_errors(node) - errors) / passed, 2),
        "waiting": sum(client.socket.unsent for client in list(node.clients.values())),
        "connections": len(node.clients),
        "admission_waiting": node.admission.waiting,
        "failing": [name for name, holds in node.checks().items() if not holds],
        "draining": node.leaving,
    }


def _errors(node: NodeParts) -> int:
    return sum(dict(node.stats.errors).values())


def _milliseconds(histogram: Histogram, before: list[int], share: float) -> float | None:
    """A quantile of what was observed since."""
    since = [now - old for now, old in zip(histogram.counts, before, strict=True)]
    value = quantile(share, histogram.bounds, since)
    return None if value is None else round(value * 1000, 1)
