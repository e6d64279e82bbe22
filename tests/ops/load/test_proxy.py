"""The proxy that spoils the gate's runs does what it says: else the gate would prove nothing."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.ops.load.proxy import Proxy


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def address() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def ask(proxy: Proxy, text: bytes) -> bytes:
    host, _, port = proxy.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while data := client.recv(65536):
                found += data
        except ConnectionError:
            return b""
        return found


def test_everything_passes_late_whole_and_in_order(address: str) -> None:
    text = bytes(range(256)) * 4000
    with Proxy(address, delay=0.3) as proxy:
        began = time.monotonic()
        assert ask(proxy, text) == text
        assert time.monotonic() - began >= 0.3


def test_one_of_so_many_connections_is_cut(address: str) -> None:
    with Proxy(address, drop_every=4) as proxy:
        answers = [ask(proxy, b"hello") for _ in range(12)]
        assert proxy.dropped == 3
    assert answers.count(b"hello") == 9
    assert answers.count(b"") == 3
