"""What a client of HTTP may cost: time, memory, connections. Each bound is met on a live instance and given back."""

import contextlib
import gzip
import socket
import time
from collections.abc import Iterator

import pytest

from tests.cluster.support.generic_server import MAX_SECONDS, Server
from tests.cluster.support.harness import CONFIG
from tests.cluster.support.http_client import HOST, Client, get, memory, one_server, request, seen
from tests.cluster.support.processes import PATIENCE, wait_until

MEGABYTE = 1 << 20
BIG = "/static/realtime/vendor/centrifuge.js"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance with short times, and a path for large bodies."""
    more = {
        "HTTP_STALLED_AFTER": "2",
        "HTTP_KEEP_ALIVE": "2",
        "HTTP_MAX_BODY": "1MB",
        "HTTP_MAX_BODY_PATHS": "/generic/sink=100MB",
    }
    with one_server(tmp_path_factory.mktemp("strict"), CONFIG, **more) as made:
        yield made


def ended(client: Client, within: float = MAX_SECONDS) -> bool:
    """Whether the other side ends the connection in time, whatever it says before."""
    client.socket.settimeout(within)
    client.rest()
    return True


def test_a_path_may_take_more(strict: Server) -> None:
    with Client(strict.port) as client:
        assert client.ask(request("POST", "/generic/sink", body=b"x" * 20_000_000)).json["size"] == 20_000_000
    with Client(strict.port) as client:
        assert client.ask(request("POST", "/generic/request", f"Content-Length: {2 * MEGABYTE}")).status == 413


def test_a_form_of_megabytes_is_nobody_s_delay(server: Server) -> None:
    """Nothing parses it but Django, which counts the fields first."""
    form = b"a&" * 2_000_000
    with Client(server.port) as client, Client(server.port) as witness:
        client.send(request("POST", "/nowhere", "Content-Type: application/x-www-form-urlencoded", body=form))
        for _ in range(20):
            assert witness.ask(get("/health/live")).status == 200
        assert client.answer().status == 404


@pytest.mark.parametrize("data", [b"P", b"GET / HT", get()[:-2], b"DELETE /x HTTP/1.1\r\nHost"])
@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
def test_a_head_has_its_deadline_whatever_the_method(server: Server, data: bytes, second: bool) -> None:
    """A byte now and then does not move it."""
    with Client(server.port) as client:
        if second:
            assert client.ask(get()).status == 200
        client.send(data)
        began = time.monotonic()
        client.socket.settimeout(0.5)
        while time.monotonic() - began < MAX_SECONDS:
            try:
                if not client.socket.recv(10):
                    break
            except TimeoutError:
                pass
            except ConnectionError:
                break
            with contextlib.suppress(OSError):
                client.socket.send(b"x")
        else:
            raise AssertionError("it was waited for")
    assert "did not come in time" in server.log.read_text()


def test_an_idle_connection_ends(strict: Server) -> None:
    with Client(strict.port) as client:
        assert client.ask(get()).status == 200
        assert ended(client)


@pytest.mark.parametrize("frame", ["Content-Length: 900000", "Transfer-Encoding: chunked"])
def test_a_body_that_hardly_comes_is_408(server: Server, frame: str) -> None:
    with Client(server.port) as client:
        client.send(request("POST", "/generic/sink", HOST, frame))
        client.socket.settimeout(0.5)
        answer, began = b"", time.monotonic()
        while not answer and time.monotonic() - began < MAX_SECONDS:
            client.send(b"1\r\nx\r\n" if "chunked" in frame else b"x")
            with contextlib.suppress(TimeoutError):
                answer = client.socket.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_takes_nothing_is_cut_off(strict: Server) -> None:
    with Client(strict.port, receive_buffer=4096) as client:
        client.send(get("/generic/source?size=100000000"))
        wait_until(lambda: "it took less than 1 KB" in strict.log.read_text(), "it is cut off", MAX_SECONDS)


def test_a_client_that_takes_little_is_not(strict: Server) -> None:
    """For thrice the time."""
    with Client(strict.port, receive_buffer=4096) as client:
        client.send(get("/generic/source?size=100000000"))
        began = time.monotonic()
        while time.monotonic() - began < 6:
            assert len(client.take(4096)) == 4096
            time.sleep(0.02)


@pytest.mark.parametrize("tls", [False, True])
def test_pipelined_requests_that_nobody_reads_cost_little_and_that_comes_back(server: Server, tls: bool) -> None:
    """900 of one static file, 100 KB each."""
    with Client(server.tls_port if tls else server.port, tls=tls) as client:
        size = len(client.ask(get(BIG)).body)
    assert size > 50_000
    before = memory(server.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(Client(server.tls_port if tls else server.port, tls=tls, receive_buffer=4096))
            client.socket.settimeout(1)
            with contextlib.suppress(OSError):
                client.socket.sendall(get(BIG) * 900)
        for _ in range(50):
            server.ask("state")
        assert memory(server.pid) - before < 40 * MEGABYTE
    wait_until(lambda: server.ask("census")["HttpConnection"] == 0, "they are forgotten", PATIENCE)
    wait_until(lambda: memory(server.pid) - before < 20 * MEGABYTE, "the memory is back", PATIENCE)


@pytest.mark.parametrize("path", ["/generic/source?size=400000000", "/generic/lump?size=50000000", "/http/largefile"])
def test_a_large_response_that_nobody_reads_waits(server: Server, path: str) -> None:
    """An application that has it all in memory holds that itself; nothing is held twice."""
    before, own = memory(server.pid), 50_000_000 if "lump" in path else 0
    with Client(server.port, receive_buffer=4096) as client:
        client.send(get(path))
        client.head()
        for _ in range(50):
            server.ask("state")
        assert memory(server.pid) - before < own + 20 * MEGABYTE
    wait_until(lambda: memory(server.pid) - before < 20 * MEGABYTE, "the memory is back", PATIENCE)


def test_an_upload_waits_for_its_application(server: Server) -> None:
    """One that takes nothing is sent no more than buffers hold."""
    size, before = 9_000_000, memory(server.pid)
    with Client(server.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        client.send(request("POST", "/generic/deaf", f"Content-Length: {size}"))
        client.socket.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += client.socket.send(bytes(min(65536, size - sent)))
        assert sent < size
        assert memory(server.pid) - before < 4 * MEGABYTE
        assert server.ask("wake") == "awake"
        assert client.answer().json == "deaf"


def test_what_waits_is_in_the_metric(server: Server) -> None:
    metrics_port = int(server._env["METRICS_PORT"])

    def waiting() -> float:
        with socket.create_connection(("127.0.0.1", metrics_port), MAX_SECONDS) as asked:
            asked.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            data = b""
            while more := asked.recv(1 << 16):
                data += more
        head, _, text = data.partition(b"\r\n\r\n")
        text = gzip.decompress(text) if b"gzip" in head else text
        return next(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith(b"flotilla_outgoing_waiting_bytes ")
        )

    with Client(server.port, receive_buffer=4096) as client:
        client.send(get("/generic/source?size=100000000"))
        client.head()
        wait_until(lambda: waiting() > 0, "it is seen", PATIENCE)
    wait_until(lambda: waiting() == 0, "it is gone", PATIENCE)


def test_a_client_that_leaves_is_known_to_the_application(server: Server) -> None:
    before = len(seen(server))
    with Client(server.port) as client:
        client.send(get("/generic/source?size=100000000"))
        client.head()
    wait_until(lambda: server.ask("census")["Request"] == 0, "nothing runs for it", MAX_SECONDS)
    assert len(seen(server)) >= before


def test_a_drain_lets_a_response_come_to_its_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And says that the connection ends."""
    import signal

    with one_server(tmp_path_factory.mktemp("mortal"), CONFIG, DRAIN_DEADLINE="20") as mortal:
        with Client(mortal.port) as client, Client(mortal.port) as idle:
            assert idle.ask(get()).status == 200
            client.send(get("/generic/events?count=4&pause=0.5"))
            client.head()
            mortal.send(signal.SIGTERM)
            assert client.rest().endswith(b"0\r\n\r\n")
            assert mortal.wait() == 0
        assert "not everything had ended" not in mortal.tail()
        assert "Traceback" not in mortal.tail(100_000)
