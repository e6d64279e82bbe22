"""The same bytes to many sockets: who took them, and who did not."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.both_implementations import implementations

pytestmark = pytest.mark.parametrize("speedups", implementations())
FEW, MANY = 3, 200  # of which the interpreter is kept, and is given to others


class Outlet:
    """A socket, and the other end of it."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.descriptor = self.ours.fileno()

    def fill(self) -> int:
        """Send until nothing more is taken; how much that was."""
        sent = 0
        try:
            while True:
                sent += self.ours.send(b"x" * 65536)
        except BlockingIOError:
            return sent

    def read(self) -> bytes:
        """What has come."""
        found = b""
        try:
            while chunk := self.theirs.recv(1 << 20):
                found += chunk
        except BlockingIOError:
            pass
        return found

    def close(self) -> None:
        """The end of both."""
        self.ours.close()
        self.theirs.close()


@pytest.fixture(params=[FEW, MANY], ids=["few", "many"])
def outlets(request: pytest.FixtureRequest) -> Iterator[list[Outlet]]:
    made = [Outlet() for _ in range(request.param)]
    yield made
    for one in made:
        one.close()


def test_all_get_the_same_bytes(speedups: Any, outlets: list[Outlet]) -> None:
    for given_as in (outlets, tuple(outlets), dict.fromkeys(outlets).keys()):
        assert speedups.send_to_all(given_as, b"hello") == []
        assert {one.read() for one in outlets} == {b"hello"}


def test_nobody_gets_nothing(speedups: Any, outlets: list[Outlet]) -> None:
    assert speedups.send_to_all([], b"hello") == []
    assert speedups.send_to_all(outlets, b"") == []


def test_who_cannot_be_sent_to_is_told_in_order(speedups: Any, outlets: list[Outlet]) -> None:
    """No descriptor, a full buffer, a connection that is lost: the others get everything."""
    without, full, lost = outlets[0], outlets[1], outlets[-1]
    without.descriptor = -1
    filled = full.fill()
    lost.theirs.close()
    assert speedups.send_to_all(outlets, b"hello") == [(without, 0), (full, 0), (lost, 0)]
    assert {one.read() for one in outlets[2:-1]} <= {b"hello"}
    assert len(full.read()) == filled
    assert without.read() == b""


def test_who_takes_a_part_is_told_how_much(speedups: Any, outlets: list[Outlet]) -> None:
    slow = outlets[1]
    wire = bytes(range(256)) * 8192  # more than a buffer holds
    slow.fill()
    slow.theirs.recv(300_000)
    left = dict(speedups.send_to_all([slow], wire))
    for one, written in left.items():
        assert 0 <= written < len(wire)
        got = one.read().lstrip(b"x")
        assert wire.startswith(got) and len(got) == written
    assert list(left) == [slow]


def test_what_has_no_descriptor_to_tell_of_is_an_error(speedups: Any, outlets: list[Outlet]) -> None:
    with pytest.raises(AttributeError):
        speedups.send_to_all([*outlets, object()], b"hello")
