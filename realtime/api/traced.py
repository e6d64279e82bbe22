"""The span of a call of the HTTP API: everything from its head to its answer, as a part of its caller's trace."""

from typing import Any

from flotilla.realtime import traces
from flotilla.realtime.api.methods import METHODS
from flotilla.tracing import Span

BATCH = "batch"
UNKNOWN = "(unknown)"


def begin_call(scope: dict[str, Any], method: str) -> Span | None:
    """Begin it for a request whose key is valid, if its caller samples it (`traceparent`), or by chance."""
    caller: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in (b"traceparent", b"tracestate"):
            key, text = name.decode(), value.decode("latin-1")
            caller[key] = f"{caller[key]},{text}" if key in caller else text  # two parents are none
    name = method if method in METHODS or method == BATCH else UNKNOWN
    return traces.begin(f"api {name}", caller=caller, serves=True)
