"""Instances whose Redis is a master with replicas, watched by sentinels (`tests/store/redis_fleet.py`)."""

from pathlib import Path
from typing import Any

from tests.cluster.support.harness import Cluster
from tests.store.redis_fleet import Fleet


class Servers:
    """The fleet in the place of a cluster's one Redis."""

    def __init__(self, home: Path, **options: Any) -> None:
        self._fleet: Fleet | None = None
        self._home, self._options = home, options

    @property
    def fleet(self) -> Fleet:
        if self._fleet is None:
            self._fleet = Fleet(self._home, **self._options)
        return self._fleet

    @property
    def url(self) -> str:
        return self.fleet.url

    def start(self) -> None:
        """It runs already: its ports are in the address."""

    def stop(self) -> None:
        self.fleet.close()

    def tail(self) -> str:
        return "\n".join(
            f"----- {server.folder.name} -----\n{(server.folder / 'log').read_text()[-1500:]}"
            for server in self.fleet.all
        )


class Guarded(Cluster):
    """Instances whose Redis is watched by sentinels. `fleet` is what `Fleet` takes; the rest is the environment's."""

    def __init__(
        self, home: Path, config: dict[str, Any], *servers: str, fleet: dict[str, Any] | None = None, **more: str
    ) -> None:
        guarded = Servers(home / "fleet", **(fleet or {}))
        super().__init__(home, config, *servers, **{"REDIS_URL": guarded.url} | more)
        self.redis = guarded  # type: ignore[assignment]
        self.fleet = guarded.fleet
