"""Where time goes in what is sampled: spans, as OpenTelemetry calls them, seen from the code that is timed.

Any part of the platform may time a step of its own, whoever began the span around it:

    with step("permission", hook=name):
        answer = await hook(…)

Where nothing is sampled there is no span, and asking costs one look at a context variable. What spans become is the
matter of `flotilla.spans`, which is imported only where tracing is on: nothing here needs OpenTelemetry.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Protocol

Value = str | int | float | bool
Attributes = Mapping[str, Value]
"""What is said of a span, by names without their prefix `flotilla.`; times are seconds."""
NONE: Attributes = {}


class Span(Protocol):
    """A piece of work that is being timed. Moments are nanoseconds of Unix time. No method raises or waits."""

    @property
    def over(self) -> bool:
        """Whether it was ended."""

    def child(
        self, name: str, attributes: Attributes = NONE, *, sends: bool = False, since: int | None = None
    ) -> "Span":
        """A part of it, begun now or at a moment. `sends`: what is received elsewhere follows from it."""

    def note(self, **attributes: Value) -> None:
        """Say more about it; until it is ended."""

    def fail(self, why: str) -> None:
        """It came to an error."""

    def end(self, at: int | None = None) -> None:
        """It is over, now or at a moment, or as soon as its last part is. Calling it again does nothing."""

    def entered(self, *, ends: bool = True) -> "AbstractContextManager[Span]":
        """It is the current one in a block, at whose end it is over if `ends`; an exception is its error, and end."""

    @property
    def headers(self) -> dict[str, str]:
        """Itself as the W3C's headers `traceparent` and, if need be, `tracestate`."""


current_span: ContextVar[Span | None] = ContextVar("flotilla_span", default=None)
"""Set by `Span.entered` alone. A task that outlives the span keeps it here: ask `current`."""

_NOTHING: AbstractContextManager[None] = nullcontext()


def current() -> Span | None:
    """The span that is being worked on; None where nothing is sampled."""
    span = current_span.get()
    return None if span is None or span.over else span


def step(name: str, **attributes: Value) -> AbstractContextManager[Span | None]:
    """Time a block as a part of the current span; where there is none, nothing is done."""
    span = current()
    return _NOTHING if span is None else span.child(name, attributes).entered()
