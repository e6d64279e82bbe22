"""What a client says whose connection is a response: a request of its own, which names the connection and its node.

JSON `{"session", "node", "data"}`, the data a text of commands; or Protobuf `EmulationRequest{node 1, session 2,
data 3}`. Which client that is, and whether there is one, is for the node to say.
"""

from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from flotilla.realtime.protocol.protobuf.schema import CLASSES


class Emulated(NamedTuple):
    """`data`: the commands, as a message over a WebSocket would have them: text in JSON, else bytes."""

    session: str
    node: str
    data: str | bytes


class _Body(msgspec.Struct):
    session: str = ""
    node: str = ""
    data: str = ""


_decode = msgspec.json.Decoder(_Body).decode
_Message: Any = CLASSES["EmulationRequest"]


def read(body: bytes, *, protobuf: bool) -> Emulated:
    """A request's body. Raises ValueError for one that is no such request, or says nothing."""
    found = _read_protobuf(body) if protobuf else _read_json(body)
    if not found.session or not found.node or not found.data:
        raise ValueError("session, node and data are needed")
    return found


def _read_json(body: bytes) -> Emulated:
    try:
        said = _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return Emulated(said.session, said.node, said.data)


def _read_protobuf(body: bytes) -> Emulated:
    try:
        said = _Message.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    return Emulated(said.session, said.node, said.data)
