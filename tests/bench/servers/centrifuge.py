"""What servers of the Centrifuge protocol have in common here: how clients join and publish, what is kept, and the
server HTTP API."""

import json
import urllib.request
from typing import Any, ClassVar

from tests.bench.load import payload
from tests.bench.servers.base import Publishing, Server, as_json
from tests.bench.servers.certificate import trusting

HISTORY_SIZE = 100
HISTORY_TTL = "5m"
API_KEY = "the key of the bench"


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
        return self._hello({"join_leave": True} if self.shape.announced else {})

    @property
    def hello_again(self) -> str:
        return self._hello({"recover": True, "epoch": "%e", "offset": "%o"}).replace('"%o"', "%o")

    def _hello(self, words: dict[str, object]) -> str:
        subscribe = {"id": 2, "subscribe": {"channel": self.channel, **words}}
        return '{"id":1,"connect":{}}\n' + as_json(subscribe)

    @property
    def churn(self) -> tuple[str, str]:
        channel = f"{self.shape.namespace}:v%n"
        join, leave = ({"id": "%i", word: {"channel": channel}} for word in ("subscribe", "unsubscribe"))
        return as_json(join).replace('"%i"', "%i"), as_json(leave).replace('"%i"', "%i")

    def inside(self) -> Publishing:
        text = f'{{"id":%i,"publish":{{"channel":"{self.channel}","data":{self.shape.message}}}}}'
        return Publishing(None, text.encode())

    def through_api(self, links: int, batch: int = 0) -> Publishing:
        """Publications through the HTTP API, over some connections, each into a room of its own: one in a request, or
        a `batch` of them."""
        command = {"channel": self.channel, "data": json.loads(payload())}
        body = as_json({"commands": [{"publish": command}] * batch} if batch else command).replace("%r", "0")
        words = [f"POST /api/{'batch' if batch else 'publish'} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {API_KEY}"]
        words += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
        text = "\r\n".join(words) + body.replace(f'{self.shape.namespace}:0"', f'{self.shape.namespace}:%r"')
        return Publishing(self.ports[0], text.encode(), links=links, awaited=True, batched=batch > 0)

    @property
    def http(self) -> str:
        """The first process's address."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.ports[0]}"

    def ask(self, method: str, words: dict[str, object]) -> Any:
        """A call of the HTTP API; its result."""
        headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.http}/api/{method}", as_json(words).encode(), headers)
        with urllib.request.urlopen(request, timeout=30, context=trusting() if self.secure else None) as response:
            return json.load(response)["result"]
