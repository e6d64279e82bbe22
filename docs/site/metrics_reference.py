"""The reference of every metric of ours, made from what a running process tells Prometheus.

`python -m docs.site.metrics_reference` is that process: a node on the engine in the process, with one client who does
a little, so that everything that can be told is told.
"""

import asyncio
import os
import subprocess
import sys
import time

from docs.site.pages import ROOT

OURS = ("flotilla_", "app_ready")
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "DJANGO_SECRET_KEY": "of a process that nobody can reach, and that ends at once",
    "DATABASE_URL": "sqlite:///:memory:",
    "REDIS_URL": "memory://",
    "DJANGO_DEBUG": "1",
    "METRICS_PORT": "0",
}


def reference() -> str:
    """A table: each metric with its kind, its labels and what it says."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR", "VIRTUAL_ENV") if name in os.environ}
    command = [sys.executable, "-m", "docs.site.metrics_reference"]
    done = subprocess.run(command, cwd=ROOT, env=kept | ENVIRONMENT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"the metrics could not be told:\n{done.stderr}")
    return done.stdout.strip()


def table(registry: object) -> str:
    """The same of what a registry tells. Raises ValueError for a metric without a sample: its labels are unknown."""
    families = [family for family in registry.collect() if family.name.startswith(OURS)]  # type: ignore[attr-defined]
    rows = ["| metric | kind | labels | what it says |", "|---|---|---|---|"]
    for family in sorted(families, key=lambda family: str(family.name)):
        if not family.samples:
            raise ValueError(f"{family.name} has no sample")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels if label != "le")
        rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows)


async def _tell() -> str:
    from prometheus_client import REGISTRY

    from flotilla.monitoring.certificates import certificate_watch
    from flotilla.monitoring.memory import memory_watch
    from flotilla.monitoring.outbox import Seen, outbox_watch
    from flotilla.ratelimit.service import get_limits
    from flotilla.realtime.access.hook_stats import hook_stats
    from flotilla.realtime.node.node import get_node
    from flotilla.realtime.outbox.backlog import Backlog
    from flotilla.realtime.server.waiting_connections import new_waiting_connections

    node = await get_node()
    new_waiting_connections()
    certificate_watch.ends["site.pem"] = 0.0
    outbox_watch.seen["default"] = Seen(Backlog(0, 0.0, 0), time.monotonic())
    get_limits()
    with hook_stats.call("a hook of the project"):
        pass
    await memory_watch.look()
    while node.vitals.leases is None:
        await asyncio.sleep(0.05)
    told = table(REGISTRY)
    await node.close()
    return told


def main() -> None:
    import django
    from django.conf import settings
    from django.db import connection

    settings.RATE_LIMITS = {"a-policy": {"guards": "ws.publish", "key": "user", "rate": "20/s"}}
    webhook = {"url": "https://127.0.0.1:9/", "secret": "of a service that is never told", "allow_private": True}
    settings.FLOTILLA = {**getattr(settings, "FLOTILLA", {}), "webhooks": {"a-service": webhook}}
    django.setup()
    connection.ensure_connection()
    sys.stdout.write(asyncio.run(_tell()) + "\n")


if __name__ == "__main__":
    main()
