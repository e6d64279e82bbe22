"""The socket of a client that somebody follows live: the client's own, and whatever is written to it is told as well.

It takes the place of the client's socket while somebody looks, in the client and in its channels, so that the sockets
of all others are written to as if nobody ever looked.
"""

from collections.abc import Callable

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.server.sockets import Socket


class TappedSocket:
    """As the socket it stands for."""

    __slots__ = ("_tell", "own")

    def __init__(self, own: Socket, tell: Callable[[bytes], None]) -> None:
        self.own = own
        self._tell = tell

    @property
    def on_slow(self) -> Callable[[], None] | None:
        return self.own.on_slow

    @on_slow.setter
    def on_slow(self, call: Callable[[], None] | None) -> None:
        self.own.on_slow = call

    @property
    def descriptor(self) -> int:
        """None: what is sent has to be told."""
        return -1

    @property
    def unsent(self) -> int:
        return self.own.unsent

    @property
    def waiting(self) -> int:
        return self.own.waiting

    def send(self, frame: Frame) -> None:
        self.own.send(frame)
        self._tell(frame.content)

    def send_soon(self, frame: Frame) -> None:
        self.own.send_soon(frame)
        self._tell(frame.content)

    def close(self, code: int, reason: str) -> None:
        self.own.close(code, reason)


def tap(client: Client, hub: Hub, tell: Callable[[bytes], None]) -> None:
    """Have `tell` called with whatever is written to a client from now on; one that is tapped already stays so."""
    if not isinstance(client.socket, TappedSocket):
        _put(client, hub, TappedSocket(client.socket, tell))


def untap(client: Client, hub: Hub) -> None:
    """The client has its own socket again."""
    if isinstance(client.socket, TappedSocket):
        _put(client, hub, client.socket.own)


def _put(client: Client, hub: Hub, socket: Socket) -> None:
    client.socket = socket
    for subscription in client.subscriptions.values():
        channel = hub.channels.get(subscription.channel)
        if channel is not None:
            channel.followers.replace(subscription, socket)
