"""What Redis says of its commands: how often each ran, and how long it took by its own clock."""

from dataclasses import dataclass, field

import redis

SCRIPTS = ("eval", "evalsha", "fcall")
"""Commands whose time holds that of the commands inside them."""


@dataclass(slots=True)
class CommandStats:
    """Calls and microseconds by command."""

    calls: dict[str, int] = field(default_factory=dict)
    microseconds: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, port: int) -> "CommandStats":
        """What a Redis counted since it was started."""
        with redis.Redis(port=port, socket_timeout=10) as client:
            found = client.info("commandstats")
        names = {key: key.removeprefix("cmdstat_") for key in found}
        return cls(
            {names[key]: int(one["calls"]) for key, one in found.items()},
            {names[key]: int(one["usec"]) for key, one in found.items()},
        )

    def __sub__(self, earlier: "CommandStats") -> "CommandStats":
        return CommandStats(
            {name: count - earlier.calls.get(name, 0) for name, count in self.calls.items()},
            {name: took - earlier.microseconds.get(name, 0) for name, took in self.microseconds.items()},
        )

    @property
    def in_scripts(self) -> int:
        """Microseconds of all scripts, with the commands in them."""
        return sum(self.microseconds.get(name, 0) for name in SCRIPTS)

    def each(self, operations: int) -> str:
        """Calls and microseconds of each command for one of `operations`, the dearest first; rare ones are left out."""
        shown = sorted(self.microseconds, key=self.microseconds.__getitem__, reverse=True)
        return ", ".join(
            f"{name} {self.calls[name] / operations:.2f}× {self.microseconds[name] / operations:.2f} µs"
            for name in shown
            if self.calls[name] * 50 >= operations
        )
