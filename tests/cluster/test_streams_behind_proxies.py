"""Clients without WebSockets behind the proxies as they are shipped: nothing is held back, and silence between pings is
no end. Over HTTP/1.1, and over HTTP/2 with TLS.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h2.connection
import h2.events
import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.balancer import Balancer
from tests.cluster.support.generic_server import self_signed
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.nginx import Nginx, binary
from tests.cluster.support.raw_client import token
from tests.cluster.support.streamed import emulate, http_stream, lines_of, sse, uni_sse

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

Fresh = Callable[[str], str]
PING = 8  # seconds: longer than any handshake may take at a proxy
PATIENT = {"ping_interval": PING, "pong_timeout": 7}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(Cluster(tmp_path_factory.mktemp("behind"), CONFIG | PATIENT, "flotilla", "flotilla")) as cluster:
        yield cluster


class Proxies:
    """Both, by name; `tls` is nginx's port."""

    def __init__(self, home: Path, pair: Cluster, stack: ExitStack) -> None:
        (home / "haproxy").mkdir()
        (home / "nginx").mkdir()
        instances = [instance.port for instance in pair.instances]
        self.balancer = Balancer(home / "haproxy", instances)
        self.nginx = Nginx(home / "nginx", *instances, certificate=None)
        for proxy in (self.balancer, self.nginx):
            stack.callback(proxy.stop)
            proxy.start()

    def port(self, name: str) -> int:
        return self.balancer.port if name == "haproxy" else self.nginx.port


@pytest.fixture(scope="module")
def proxies(pair: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    if not binary():
        pytest.skip("no nginx on the PATH")
    with ExitStack() as stack:
        yield Proxies(tmp_path_factory.mktemp("proxies"), pair, stack)


def first(channel: str) -> list[dict[str, Any]]:
    return [{"id": 1, "connect": {"token": token("5")}}, {"id": 2, "subscribe": {"channel": channel}}]


@pytest.mark.parametrize("transport", [http_stream, sse])
@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
async def test_what_is_sent_comes_at_once_and_silence_is_no_end(
    pair: Cluster, proxies: Proxies, fresh: Fresh, proxy: str, transport: Any
) -> None:
    channel, port = fresh("open"), proxies.port(proxy)
    async with Api(pair[0].http) as api, transport(port, *first(channel)) as stream:
        connected = await stream.find("connect")
        await stream.find("subscribe")
        for number in range(5):
            await api.say(channel, number)
            assert (await stream.find("pub"))["data"] == number
        for _ in range(4):  # through the proxy to either instance
            assert await emulate(port, connected, {}) == 204
        await stream.until(b"{}\n")  # a ping, the first one sooner than others
        assert await emulate(port, connected, {}) == 204
        await stream.until(b"{}\n")
        assert await emulate(port, connected, {}, {"id": 9, "presence_stats": {"channel": channel}}) == 204
        assert (await stream.find("presence_stats"))["num_clients"] == 1


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
async def test_a_listener_is_kept_over_silence(pair: Cluster, proxies: Proxies, fresh: Fresh, proxy: str) -> None:
    channel = fresh("open")
    query = f"channel={channel}&token={token('5')}"
    async with Api(pair[0].http) as api, uni_sse(proxies.port(proxy), query) as stream:
        await stream.event()
        await asyncio.sleep(2 * PING)
        await api.say(channel, 1)
        assert (await stream.pub()).json["pub"]["data"] == 1


async def test_tokens_in_queries_are_in_no_log(proxies: Proxies) -> None:
    async with uni_sse(proxies.balancer.port, "token=a-secret") as answer:
        assert answer.status == 401
    assert "a-secret" not in proxies.balancer.tail(100_000)


@asynccontextmanager
async def h2_get(port: int, path: str) -> AsyncIterator[asyncio.Queue[bytes]]:
    """A GET over HTTP/2: the parts of its body as they come."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    named = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", f"127.0.0.1:{port}")]
    connection.send_headers(1, named, end_stream=True)
    writer.write(connection.data_to_send())
    parts: asyncio.Queue[bytes] = asyncio.Queue()

    async def read() -> None:
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    parts.put_nowait(event.data)
            writer.write(connection.data_to_send())

    reading = asyncio.create_task(read())
    try:
        yield parts
    finally:
        reading.cancel()
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def test_over_http_2(pair: Cluster, fresh: Fresh, tmp_path: Path) -> None:
    if not binary():
        pytest.skip("no nginx on the PATH")
    channel = fresh("open")
    nginx = Nginx(tmp_path, *(instance.port for instance in pair.instances), certificate=self_signed(tmp_path))
    nginx.start()
    try:
        path = f"/connection/sse?cf_connect={quote(lines_of(*first(channel)))}"
        async with Api(pair[0].http) as api, h2_get(nginx.tls_port, path) as parts, asyncio.timeout(20):
            found = b""
            while b'"subscribe"' not in found:
                found += await parts.get()
            await api.say(channel, {"over": "h2"})
            while json.dumps({"over": "h2"}).replace(" ", "").encode() not in found:
                found += await parts.get()
    finally:
        nginx.stop()
