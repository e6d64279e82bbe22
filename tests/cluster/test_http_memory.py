"""What one client can make an instance hold: bounded while it lasts, and given back when the client has gone."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.cluster.support.generic_server import Server, upgrade
from tests.cluster.support.harness import CONFIG
from tests.cluster.support.http_client import Client, get, memory, one_server, request
from tests.cluster.support.processes import PATIENCE, wait_until
from tests.raw_frames import TEXT, frame

STATIC = "/static/admin/js/vendor/jquery/jquery.js"  # 285 KB
MEGABYTE = 1 << 20
GROWTH = 40 * MEGABYTE
LEFT = 15 * MEGABYTE  # what an allocator may keep
LITTLE = 4096  # bytes of a receive buffer
SINK = ("/generic/sink=200MB", "/http/body=200MB")


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance that takes large bodies at some paths, and has loaded everything."""
    with one_server(tmp_path_factory.mktemp("roomy"), CONFIG, HTTP_MAX_BODY_PATHS=",".join(SINK)) as made:
        with Client(made.port) as client:
            for path in (STATIC, "/http/file", "/http/large", "/generic/request", "/nowhere", "/admin/login/") * 3:
                client.ask(get(path))
            client.ask(request("POST", "/generic/sink", body=b"x" * 3 * MEGABYTE))
        yield made


@contextlib.contextmanager
def bounded(server: Server) -> Iterator[None]:
    """Within the block memory stays within its bound, and comes back behind it."""
    before = memory(server.pid)
    yield
    wait_until(lambda: memory(server.pid) - before < LEFT, "memory is back", PATIENCE)


def settled(server: Server, before: int) -> None:
    """Wait until the instance has done what it was asked for, or what there is room for; it has not grown by then."""
    for _ in range(20):
        server.ask("request")
    assert memory(server.pid) - before < GROWTH


UNREAD = {
    "pipelined static files": get(STATIC) * 900,
    "pipelined pages": get("/nowhere") * 900,
    "pipelined heads": get(STATIC, method="HEAD") * 900,
    "a large response": get("/generic/source?size=400000000"),
    "a large response without length": get("/generic/source?size=400000000&known=0"),
    "a large stream of Django's": get("/http/large?size=400000000"),
    "a large file": get("/http/largefile") * 3,
    "small bodies": request("POST", "/generic/request", body=b"x" * 5000) * 300,
}


@pytest.mark.parametrize("data", UNREAD.values(), ids=UNREAD)
def test_what_nobody_reads_waits_where_it_comes_from(roomy: Server, data: bytes) -> None:
    before = memory(roomy.pid)
    with bounded(roomy), contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(Client(roomy.port, receive_buffer=LITTLE))
            client.socket.settimeout(0.5)
            client.send(data)  # as much of it as is taken
        settled(roomy, before)


def unsent_in_kernel(port: int) -> int:
    """The most that the kernel holds for a connection of a server: what is not sent, or not acknowledged."""
    with open("/proc/net/tcp") as table:
        fields = [line.split() for line in table.readlines()[1:]]
    return max(int(one[4].partition(":")[0], 16) for one in fields if int(one[1].partition(":")[2], 16) == port)


def test_the_kernel_holds_little_of_what_nobody_reads(roomy: Server) -> None:
    """Its memory for sockets is one for the whole machine: with a few hundred such clients nobody else had any."""
    with Client(roomy.port, receive_buffer=LITTLE) as client:
        client.send(get("/generic/source?size=400000000"))
        wait_until(lambda: unsent_in_kernel(roomy.port) > 100_000, "it is being sent", PATIENCE)
        for _ in range(20):
            roomy.ask("request")
        assert unsent_in_kernel(roomy.port) < MEGABYTE


@pytest.mark.parametrize("path", ["/generic/sink", "/http/body"])
def test_a_large_upload_is_held_in_no_memory(roomy: Server, path: str) -> None:
    before, most = memory(roomy.pid), 0
    with bounded(roomy), Client(roomy.port) as client:
        first = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
        last = b"\r\n--x--\r\n"
        size = len(first) + 150 * MEGABYTE + len(last)
        client.send(
            request("POST", path, "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {size}") + first
        )
        for _ in range(150):
            client.send(b"z" * MEGABYTE)
            most = max(most, memory(roomy.pid))
        client.send(last)
        found = client.answer()
        assert found.json.get("size", size) == size
        assert found.json.get("files", {"a": 150 * MEGABYTE}) == {"a": 150 * MEGABYTE}
        assert max(most, memory(roomy.pid)) - before < GROWTH


def test_uploads_that_were_left_in_the_middle_hold_nothing(roomy: Server) -> None:
    before = memory(roomy.pid)
    with bounded(roomy):
        for _ in range(40):
            with Client(roomy.port) as client:
                client.send(request("POST", "/generic/sink", f"Content-Length: {100 * MEGABYTE}", body=b"x" * MEGABYTE))
                client.reset()
        settled(roomy, before)


def test_connections_that_went_in_the_middle_of_a_response_hold_nothing(roomy: Server) -> None:
    before = memory(roomy.pid)
    with bounded(roomy):
        for _ in range(60):
            with Client(roomy.port, receive_buffer=LITTLE) as client:
                client.send(get("/generic/source?size=50000000") * 3)
                client.take(1000)
                client.reset()
        settled(roomy, before)


def test_fragments_of_one_byte_are_no_more_than_their_bytes(roomy: Server) -> None:
    """Sixty thousand in each of ten messages that do not end."""
    part = frame(TEXT, b"{", final=False) + frame(0, b"x", final=False) * 60_000
    before = memory(roomy.pid)
    with bounded(roomy), contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(Client(roomy.port))
            client.send(upgrade("/connection/websocket") + part)
        settled(roomy, before)
