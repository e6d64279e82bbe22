"""Prometheus with the rules that are shipped, beside whoever judges: which alerts fire, and whether they end again."""

import asyncio
import json
import shutil
from pathlib import Path

from flotilla import monitoring
from flotilla.ops.prometheus_api import Prometheus, Unreachable
from tests.chaos.checker import Violation
from tests.chaos.log import Log
from tests.cluster.support.processes import Process, free_port

SHIPPED = Path(monitoring.__file__).parent / "prometheus"
LOOK_EVERY = 2.0  # seconds
# These fire for ever, for the flooders of the crowd, for hours after an error, and where a machine has other work.
OF_NO_FAULT = ("watchdog", "rl_spike", "slo_", "redis_slow")
OVER_WITHIN = 420.0  # seconds after the last fault: rules look back five minutes, and wait for one


class Alerts:
    """Use `start` and `stop`. `fired`: when each was seen first and last, by its name, in the log's seconds."""

    def __init__(self, home: Path, log: Log, targets: list[str]) -> None:
        self.fired: dict[str, tuple[float, float]] = {}
        self._log = log
        folder = Path(shutil.copytree(SHIPPED, home / "prometheus"))
        found = [{"targets": targets, "labels": {"cluster": "networks"}}]
        (folder / "targets" / "flotilla.json").write_text(json.dumps(found))
        port = free_port()
        self._prometheus = Prometheus(f"http://127.0.0.1:{port}")
        self._process = Process("prometheus", home)
        self._command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._process.spawn(self._command)
        self._task = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._process.stop)

    def firing(self) -> list[str]:
        """What fires now, but for what faults do not cause."""
        alerts = self._prometheus.alerts()
        names = {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
        return sorted(name for name in names if not name.startswith(OF_NO_FAULT))

    async def over(self) -> list[Violation]:
        """Wait until nothing fires any more; what does not end."""
        ended = self._log.now
        while stuck := await asyncio.to_thread(self.firing):
            if self._log.now > ended + OVER_WITHIN:
                text = f"{', '.join(stuck)} {OVER_WITHIN:.0f} s after the last fault"
                return [Violation("alert", self._log.now, text)]
            await asyncio.sleep(LOOK_EVERY)
        return []

    async def _look(self) -> None:
        while True:
            try:
                for name in await asyncio.to_thread(self.firing):
                    first, _ = self.fired.get(name, (self._log.now, 0.0))
                    self.fired[name] = first, self._log.now
            except Unreachable:
                pass  # it begins
            await asyncio.sleep(LOOK_EVERY)


def watched() -> bool:
    """Whether this machine has a Prometheus."""
    return shutil.which("prometheus") is not None
