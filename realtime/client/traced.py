"""A span around each command of a client that is sampled: from its arrival to its answer, whatever it waits for.

`traced` wraps handlers where tracing is on; elsewhere a command costs nothing here. What limits, permission hooks and
Redis take are parts of it, which they add themselves (`flotilla.tracing`).
"""

import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from flotilla.realtime import traces
from flotilla.realtime.client import command_time
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import AT_ONCE, Handler
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from flotilla.tracing import Span

if TYPE_CHECKING:
    from flotilla.spans import Recorder

SECOND = 1_000_000_000  # nanoseconds


def traced(handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
    """The handlers, each behind the beginning of a trace; the same ones where tracing is off."""
    recorder = traces.recorder()
    if recorder is None:
        return handlers
    return {method: _traced(recorder, method, handler) for method, handler in handlers.items()}


def _traced(recorder: "Recorder", method: str, handler: Handler) -> Handler:
    def handled(client: Client, id: int, request: Any) -> Any:
        span = _begin(recorder, client, method, request) if recorder.by_chance() else None
        if span is None:
            return handler(client, id, request)
        if method not in AT_ONCE:
            return _finish(span, partial(handler, client, id, request))
        with _noting_refusals(span, ends=False):
            answer = handler(client, id, request)
        if callable(answer):
            return partial(_finish, span, answer)
        span.end()  # as soon as Redis has answered, where it was asked
        return answer

    return handled


def _begin(recorder: "Recorder", client: Client, method: str, request: Any) -> Span | None:
    waited = 0.0
    if client.commands.due:  # others were before it
        waited = max(0.0, client.node.now() - client.commands.due + command_time.COMMAND_WITHIN)
    about = {**traces.about(getattr(request, "channel", "")), "client": client.id, "waited": waited}
    return recorder.root(f"command {method}", about, since=time.time_ns() - int(waited * SECOND))


async def _finish(span: Span, rest: Any) -> bytes | None:
    with _noting_refusals(span):
        answer: Awaitable[bytes | None] = rest()
        return await answer


@contextmanager
def _noting_refusals(span: Span, *, ends: bool = True) -> Iterator[None]:
    """In the block it is the current span; what the client is answered with says itself why."""
    with span.entered(ends=ends):
        try:
            yield
        except (CommandError, DisconnectError) as error:
            span.note(code=int(error.code))
            span.fail(str(error))
            raise
