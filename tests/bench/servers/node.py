"""The servers on Node: Socket.IO 4 with its Redis adapter, and bare `ws` with frames built once.

Socket.IO's publications from outside are what its Redis emitter sends: the adapter's own message, published in Redis.
"""

import json
import shutil
from pathlib import Path

import msgpack

from tests.bench.servers import certificate
from tests.bench.servers.base import Publishing, Server, resp
from tests.cluster.support.processes import free_port

_HERE = Path(__file__).resolve().parent.parent


class Node(Server):
    """What they have in common."""

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("node") is None:
            return "no node on the PATH"
        return super().missing() if (_HERE / "node_modules").is_dir() else "no `npm ci` in tests/bench"


class SocketIO(Node):
    """One process."""

    name = "socketio"
    title = "Socket.IO on Node, Redis adapter"
    dialect = "socketio"

    @property
    def path(self) -> str:
        return "/socket.io/?EIO=4&transport=websocket"

    @property
    def hello(self) -> str:
        return '420["join","%r"]'

    def inside(self) -> Publishing:
        return Publishing(None, f'42["publish","%r",{self.shape.message}]'.encode())

    def outside(self) -> Publishing:
        packet = {"type": 2, "data": ["message", json.loads(self.shape.message)], "nsp": "/"}
        options = {"rooms": ["0"], "except": [], "flags": {}}
        message = msgpack.packb(["emitter", packet, options])
        return Publishing(self.redis.port, resp("PUBLISH", "socket.io#/#0#", message))

    @property
    def churn(self) -> tuple[str, str]:
        return '42%i["join","v%n"]', '42%i["leave","v%n"]'

    def start_processes(self) -> None:
        script = str(_HERE / "node" / "socketio.mjs")
        for port in self.ports:
            self.spawn(["node", script, str(port), self.redis.url, *self._tls()])

    def _tls(self) -> list[str]:
        if not self.secure:
            return []
        own = certificate.make(self.home)
        return [str(own.key), str(own.chain)]


class SocketIOTwo(SocketIO):
    """Two processes; the load client connects to both in turn."""

    name = "socketio-2"
    title = "Socket.IO, 2 processes"
    processes = 2


class SocketIOFour(SocketIO):
    """Four processes; the load client connects to all in turn."""

    name = "socketio-4"
    title = "Socket.IO, 4 processes"
    processes = 4


class SocketIOTls(SocketIO):
    """One process that speaks TLS itself."""

    name = "socketio-tls"
    title = "Socket.IO on Node, TLS"
    secure = True

    @classmethod
    def missing(cls) -> str | None:
        return certificate.missing() or super().missing()


class BareWs(Node):
    """`ws` alone."""

    name = "ws"
    title = "bare ws on Node, frames built once"
    uses_redis = False

    @property
    def path(self) -> str:
        return "/room/%r"

    def start_processes(self) -> None:
        self._publishing_port = free_port()
        script = str(_HERE / "node" / "ws.mjs")
        self.spawn(["node", script, str(self.ports[0]), str(self._publishing_port)])

    def outside(self) -> Publishing:
        return Publishing(self._publishing_port, self.shape.message.encode() + b"\n")
