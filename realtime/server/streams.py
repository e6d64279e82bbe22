"""Accepted TCP connections, and how they are told that they can be read or written: by an epoll of their own (Linux).

Twisted's reactor calls its transports through asyncio's selector and a wrapper for logs, and each costs about what the
work itself does. So connections that we accept are watched by one epoll, which the event loop watches as one thing:
when it stirs, everything that is ready is served in one go, `MAX_EVENTS` at most before others have their turn. Who
reads by itself is asked to (`Stream.reader`). All else about them is as Twisted has it: they are its transports. Where
there is no epoll, and for Unix sockets, its reactor watches them.
"""

import asyncio
import logging
import select
import socket
import sys
from typing import Any, NamedTuple, Protocol

from twisted.internet import tcp

logger = logging.getLogger("flotilla.realtime.server")

MAX_EVENTS = 256
MAX_ACCEPTED = 64  # connections, before others have their turn

_WRITE = getattr(select, "EPOLLOUT", 4)
_READ = getattr(select, "EPOLLIN", 1)
_CAN_READ = ~_WRITE  # an error is read, as the end is


class Poll:
    """The streams of one event loop that wait for their sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._streams: dict[int, Stream] = {}
        loop.add_reader(self._epoll.fileno(), self._serve)

    def watch(self, fd: int, stream: "Stream", before: int, events: int) -> None:
        """Tell a stream of so much from now on, and no more of what it was told of `before`."""
        if not before:
            self._streams[fd] = stream
            self._epoll.register(fd, events)
        elif events:
            self._epoll.modify(fd, events)
        else:
            del self._streams[fd]
            self._epoll.unregister(fd)

    def _serve(self) -> None:
        streams = self._streams
        for fd, events in self._epoll.poll(0, MAX_EVENTS):
            stream = streams.get(fd)
            if stream is not None:  # else it is gone since
                stream.ready(events)


_polls: dict[asyncio.AbstractEventLoop, Poll] = {}


def poll_of(loop: asyncio.AbstractEventLoop) -> Poll:
    """The one that a loop watches."""
    if loop not in _polls:
        _polls.clear()  # of loops that have ended
        _polls[loop] = Poll(loop)
    return _polls[loop]


class Reader(Protocol):
    """Reads from a stream's socket by itself."""

    def readable(self) -> bool:
        """The socket can be read; False when it has ended or failed, which the stream then finds. Must not raise."""


class Stream(tcp.Server):  # type: ignore[misc]
    """A connection that was accepted: Twisted's transport, without the texts that its logs would have of each."""

    reader: Reader | None = None  # reads in the stream's place; None: what is read goes to the protocol
    _watched = 0  # events it is told of

    def __init__(self, sock: socket.socket, protocol: Any, peer: "Peer", port: Any, reactor: Any, poll: Poll) -> None:
        # What tcp.Server and its bases do, and nothing more.
        self.reactor = reactor
        self._tempDataBuffer: list[bytes] = []
        self._tempDataLen = 0
        self.socket = sock
        self.fileno = sock.fileno
        self.protocol = protocol
        self.server = port
        self.client = peer
        self.connected = 1
        self._poll = poll
        self._watch(_READ)

    @property
    def logstr(self) -> str:
        """For Twisted's log."""
        return repr(self)

    def __repr__(self) -> str:
        return f"<Stream of {self.client.host}>"

    def getPeer(self) -> "Peer":
        return self.client

    def getHost(self) -> "Peer":
        return Peer(*self.socket.getsockname()[:2])

    def _watch(self, events: int) -> None:
        before, self._watched = self._watched, events
        if before != events:
            self._poll.watch(self.fileno(), self, before, events)

    # As Twisted's reactor has them

    def startReading(self) -> None:
        self._watch(self._watched | _READ)

    def stopReading(self) -> None:
        self._watch(self._watched & ~_READ)

    def startWriting(self) -> None:
        self._watch(self._watched | _WRITE)

    def stopWriting(self) -> None:
        self._watch(self._watched & ~_WRITE)

    def ready(self, events: int) -> None:
        """The socket can be read or written, or has failed."""
        if events & _CAN_READ and self._watched & _READ and (self.reader is None or not self.reader.readable()):
            self._do(self.doRead, read=True)
        if events & ~_READ and self._watched & _WRITE:
            self._do(self.doWrite, read=False)

    def connectionLost(self, reason: Any) -> None:
        self.reader = None
        super().connectionLost(reason)

    def _do(self, what: Any, *, read: bool) -> None:
        try:
            why = what()
        except Exception as error:
            logger.exception("a connection of %s failed", self.client[0])
            why = error
        if why:
            self.stopReading()
            self.reactor._disconnectSelectable(self, why, read)


class Peer(NamedTuple):
    """One side of a TCP connection, as Twisted's addresses say it."""

    host: str
    port: int


def accept_fast(port: Any) -> None:
    """Have a Twisted port that listens for TCP make streams of what it accepts, many in a turn of the loop."""
    if not hasattr(select, "epoll") or getattr(port, "addressFamily", None) not in (socket.AF_INET, socket.AF_INET6):
        return
    poll, accept_slowly = poll_of(asyncio.get_event_loop()), port.doRead

    def accept() -> None:
        listener, factory, reactor = port.socket, port.factory, port.reactor
        for _ in range(MAX_ACCEPTED):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                accept_slowly()  # which knows what to do about it, and says so
                return
            try:
                sock.setblocking(False)
                peer = _peer(address)
                protocol = factory.buildProtocol(peer)
                protocol.makeConnection(Stream(sock, protocol, peer, port, reactor, poll))
            except Exception:
                logger.exception("a connection could not be taken")
                sock.close()

    port.doRead = accept


def _peer(address: tuple[Any, ...]) -> Peer:
    if len(address) == 2:
        return Peer(sys.intern(address[0]), address[1])
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV  # IPv6, with the scope it may have
    return Peer(sys.intern(socket.getnameinfo(address, numeric)[0]), address[1])
