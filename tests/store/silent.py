"""Addresses where a Redis could be, and none answers: connections are refused, accepted without a word, or not even
made."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Nobody listens at the port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield _url(held)


@contextlib.contextmanager
def accepting() -> Iterator[str]:
    """Connections are made, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield _url(listener)


@contextlib.contextmanager
def swallowing() -> Iterator[str]:
    """Connections are not made, and not refused: the queue of the listener is full, so the kernel drops what comes."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while True:
            one = held.enter_context(socket.socket())
            one.settimeout(0.5)
            try:
                one.connect(listener.getsockname())
            except TimeoutError:
                break
        yield _url(listener)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"redis://{host}:{port}"
