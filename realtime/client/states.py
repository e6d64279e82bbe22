"""The states of a connection, and which may follow which; and how a connection may come."""

from enum import Enum, auto

TRANSPORTS = ("websocket", "http_stream", "sse", "uni_sse")


class State(Enum):
    """How far a connection is."""

    AWAITING_CONNECT = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    REFUSED = auto()  # connect was answered with an error: nothing more is read
    CLOSED = auto()


_FOLLOWS = {
    State.AWAITING_CONNECT: {State.CONNECTING, State.CLOSED},
    State.CONNECTING: {State.CONNECTED, State.REFUSED, State.CLOSED},
    State.CONNECTED: {State.CLOSED},
    State.REFUSED: {State.CLOSED},
    State.CLOSED: set(),
}


def follows(state: State, before: State) -> bool:
    """Whether a connection may go from one state to the other."""
    return state in _FOLLOWS[before]


def expected_after(state: State) -> str:
    """What may follow a state, in words."""
    return ", ".join(sorted(one.name for one in _FOLLOWS[state])) or "nothing"
