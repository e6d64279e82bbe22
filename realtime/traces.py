"""The traces of this process: whether the settings want any, who begins them, and how they are closed at its end.

A process has one recorder, made at its first use, of whatever kind it is: an instance, or a worker or a WSGI process
that only publishes. What goes wrong with it costs the traces and nothing else.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from flotilla._extras import MissingExtra
from flotilla.realtime.access.channels import namespace_of
from flotilla.realtime.access.hooks import name_of, resolve
from flotilla.realtime.conf import RealtimeConfig, get_config, provided_namespace
from flotilla.store.conf import get_store_config
from flotilla.tracing import Value

if TYPE_CHECKING:
    from flotilla.spans import RecordedSpan, Recorder

logger = logging.getLogger("flotilla.tracing")

CLOSE_WITHIN = 2.0  # seconds a process that ends gives the provider
NO_NAMESPACE = "(none)"
UNKNOWN = "(unknown)"  # a namespace that is not configured: its name is the client's own text

_made: tuple[RealtimeConfig, "Recorder | None"] | None = None
_making = Lock()


def recorder() -> "Recorder | None":
    """This process's recorder; None where tracing is off, or cannot be."""
    global _made
    config, made = get_config(), _made
    if made is None or made[0] is not config:
        with _making:
            if _made is None or _made[0] is not config:
                _made = (config, _make(config))
            made = _made
    return made[1]


def counted() -> tuple[int, int]:
    """How many spans the tracer provider was given, and how many were dropped, in this process."""
    found = _made[1] if _made is not None else None
    return (0, 0) if found is None else (found.ended, found.dropped)


def begin(
    name: str, *, channel: str = "", caller: Mapping[str, str] | None = None, serves: bool = False
) -> "RecordedSpan | None":
    """Begin a trace in a channel ("" for none), if it is sampled; more as of `Recorder.begin`."""
    found = recorder()
    return None if found is None else found.begin(name, about(channel), caller=caller, serves=serves)


def about(channel: str) -> dict[str, Value]:
    """What spans say of a channel; nothing of "", which is none."""
    if not channel:
        return {}
    config = get_config()
    name = namespace_of(channel)
    known = name is None or name in config.namespaces or provided_namespace(name) is not None
    found: dict[str, Value] = {"namespace": (name or NO_NAMESPACE) if known else UNKNOWN}
    return found | {"channel": channel} if config.tracing_channels else found


async def close(**_: Any) -> None:
    """The process has nothing more to do: give the provider what it has not had, for a bounded time."""
    found = _made[1] if _made is not None else None
    if found is not None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await asyncio.shield(asyncio.wrap_future(found.close()))
        except TimeoutError:
            logger.warning("the last spans were not exported within %g s", CLOSE_WITHIN)


def _make(config: RealtimeConfig) -> "Recorder | None":
    if not config.tracing:
        return None
    try:
        from flotilla.spans import Recorder

        provider = None if config.tracing_provider is None else resolve(config.tracing_provider)()
        made = Recorder(provider, config.tracing_ratio, instance=get_store_config().instance_id)
    except MissingExtra as error:
        logger.error("nothing is traced: %s", error)
    except Exception:  # a project's code can raise anything, and may give anything
        logger.exception("nothing is traced: %s failed", name_of(config.tracing_provider))
    else:
        if made.idle:
            logger.warning("nothing is traced until a tracer provider is set: see tracing_provider")
        return made
    return None


def _forget() -> None:
    """A process that was forked has no threads: neither the recorder's nor the exporter's."""
    global _made, _making
    _made, _making = None, Lock()


os.register_at_fork(after_in_child=_forget)
