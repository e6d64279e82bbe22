"""What servers of the Centrifuge protocol have in common here: how clients join and publish, and what is kept."""

from typing import ClassVar

from tests.bench.servers.base import Publishing, Server

HISTORY_SIZE = 100
HISTORY_TTL = "5m"


class CentrifugeServer(Server):
    """A server whose clients speak the Centrifuge JSON protocol."""

    dialect: ClassVar[str] = "centrifuge"

    @property
    def path(self) -> str:
        return "/connection/websocket"

    @property
    def channel(self) -> str:
        """The channel of room `%r`."""
        return f"{self.shape.namespace}:%r"

    @property
    def hello(self) -> str:
        return f'{{"id":1,"connect":{{}}}}\n{{"id":2,"subscribe":{{"channel":"{self.channel}"}}}}'

    def inside(self) -> Publishing:
        text = f'{{"id":%i,"publish":{{"channel":"{self.channel}","data":{self.shape.message}}}}}'
        return Publishing(None, text.encode())
