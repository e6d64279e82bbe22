"""Publications as JSON clients get them in a subscription with deltas: the payload is a text, the delta is another.

The SDKs want it so: what they apply the next delta to is the very bytes of a payload, and a JSON parser keeps those of
a text alone.
"""

import msgspec
from msgspec import Raw, Struct

from flotilla.realtime.protocol import foreign

_BEFORE = b'{"data":'  # of every publication's body


class _Body(Struct):
    data: Raw


_read = msgspec.json.Decoder(_Body).decode


def payload_of(body: bytes) -> bytes:
    """The payload in a publication's body."""
    try:
        return bytes(_read(body).data)
    except msgspec.DecodeError:  # half surrogates, which are kept as they are
        return bytes(foreign.read(body, _Body)[0].data)


def as_text(body: bytes) -> bytes:
    """The publication with its payload as a text."""
    payload = payload_of(body)
    return _BEFORE + _text(payload) + body[len(_BEFORE) + len(payload) :]


def as_delta(body: bytes, delta: bytes) -> bytes:
    """The publication with a delta, which is UTF-8, instead of its payload."""
    rest = body[len(_BEFORE) + len(payload_of(body)) :]
    return _BEFORE + _text(delta) + b',"delta":true' + rest


def _text(data: bytes) -> bytes:
    return msgspec.json.encode(data.decode())
