"""The floor: an epoll loop in C that does the same sends and nothing else. Publications reach it as lines."""

from typing import ClassVar

from tests.bench import native
from tests.bench.servers.base import Publishing, Server
from tests.cluster.support.processes import free_port


class CFloor(Server):
    """One send per delivery."""

    name = "cfloor"
    title = "C epoll loop, one send per delivery"
    uses_redis = False
    words: ClassVar[tuple[str, ...]] = ()

    @property
    def path(self) -> str:
        return "/room/%r"

    def start_processes(self) -> None:
        self._publishing_port = free_port()
        self.spawn([str(native.program("floor")), str(self.ports[0]), str(self._publishing_port), *self.words])

    def outside(self) -> Publishing:
        return Publishing(self._publishing_port, self.shape.message.encode() + b"\n")


class CFloorJoined(CFloor):
    """The publications of one turn of the loop in one send."""

    name = "cfloor-joined"
    title = "C epoll loop, sends joined"
    words = ("join",)


class CFloorDelayed(CFloor):
    """Holds every publication back: the load client must say so. Not part of any job."""

    name = "cfloor-delayed"
    title = "C epoll loop that waits 30 ms"
    words = ("delay", "30")
