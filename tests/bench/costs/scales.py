"""What an instance and its Redis use: CPU time by their own clocks, memory, commands, bytes on the network.

The load client and whoever else helps are other processes, and never counted. A span begins and ends with a reading of
the instance's metrics, whose own cost lies outside it.
"""

import time
from dataclasses import dataclass, fields

import redis

from tests.bench.jobs.base import Stage
from tests.bench.machine import Meter
from tests.bench.servers.flotilla import Flotilla


@dataclass(slots=True)
class Used:
    """Seconds of the clock and of CPU, bytes of memory and of the network of Redis, and commands sent to Redis."""

    seconds: float = 0.0
    instance_cpu: float = 0.0
    redis_cpu: float = 0.0
    instance_bytes: float = 0.0
    redis_bytes: float = 0.0
    redis_in: float = 0.0
    redis_out: float = 0.0
    commands: float = 0.0

    def __sub__(self, earlier: "Used") -> "Used":
        return Used(*(getattr(self, one.name) - getattr(earlier, one.name) for one in fields(self)))

    def each(self, count: float) -> "Used":
        """For one of so many, in microseconds of CPU instead of seconds."""
        found = Used(*(getattr(self, one.name) / count for one in fields(self)))
        found.instance_cpu *= 1e6
        found.redis_cpu *= 1e6
        return found


class Scales:
    """Weighs what a stage does between `begin` and `end`."""

    def __init__(self, stage: Stage) -> None:
        assert isinstance(stage.server, Flotilla)
        self._server, self._meter = stage.server, stage.meter
        self._redis_meter = Meter([stage.server.redis.pid])
        self._redis = redis.Redis(port=stage.server.redis.port, socket_timeout=10)
        self._before = Used()

    def begin(self) -> None:
        """From here on."""
        commands = self._commands()
        self._before = self._now()
        self._before.commands = commands

    def end(self) -> Used:
        """What was used since `begin`."""
        now = self._now()
        now.commands = self._commands()
        return now - self._before

    def over(self, seconds: float) -> Used:
        """What is used in some seconds in which this does nothing."""
        self.begin()
        time.sleep(seconds)
        return self.end()

    def held(self) -> tuple[int, int]:
        """Bytes that the instance and Redis hold now."""
        return self._meter.resident(), int(self._redis.info("memory")["used_memory"])

    def redis_cpu(self) -> float:
        """Seconds of CPU that Redis has used."""
        return self._redis_meter.cpu()

    def topics(self) -> set[bytes]:
        """What somebody listens to at this Redis."""
        return set(self._redis.pubsub_channels())

    def _now(self) -> Used:
        resident, held = self.held()
        network = self._redis.info("stats")
        return Used(
            seconds=time.monotonic(),
            instance_cpu=self._meter.cpu(),
            redis_cpu=self._redis_meter.cpu(),
            instance_bytes=resident,
            redis_bytes=held,
            redis_in=network["total_net_input_bytes"],
            redis_out=network["total_net_output_bytes"],
        )

    def _commands(self) -> float:
        return self._server.counted(r"flotilla_redis_commands_total\{.*\}")
