"""Rate limits of a connection's commands: which policies guard which command, and what a denied one is answered.

`guarded` wraps the handlers of guarded commands alone, so a command that no policy guards costs nothing here. A command
that names a channel which its connection has not used lately is guarded as `ws.new_channel`, too. A denial is error 111
with the time to wait in its message; `send`, which has no answer, is dropped; too many denials within the configured
window end the connection with 3013, after which clients wait before they connect again.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from flotilla.ratelimit.policies import NAMESPACE, Policy
from flotilla.ratelimit.service import Limits, get_limits
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.access.channels import namespace_of
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import AT_ONCE, Answer, Handler
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode

IN_CHANNELS = ("publish", "subscribe", "history", "presence", "presence_stats")
UNGUARDED = ("connect", "unsubscribe")
"""The handshake has policies of its own; a client that could not leave a channel would reconnect instead."""
NEW_CHANNEL = "ws.new_channel"
MAX_NAMES = 128  # that a connection is known to use, beside those it is subscribed to: at most 9 KB


def guarded(handlers: Mapping[str, Handler], config: RealtimeConfig) -> Mapping[str, Handler]:
    """The handlers, those of guarded commands behind their limits. Raises ImproperlyConfigured for faulty policies."""
    limits = get_limits()
    abuse = Abuse(config.abuse)
    names = Names()
    found = dict(handlers)
    for method, handler in handlers.items():
        guard = Guard(limits, method, config.namespaces, names)
        if guard and method not in UNGUARDED:
            found[method] = _behind(guard, abuse, method, handler)
    return found


class Guard:
    """The policies of one command: some for every channel, some for those of a namespace, some for new channels."""

    def __init__(self, limits: Limits, method: str, namespaces: Mapping[str, Any], names: "Names") -> None:
        self.limits = limits
        self._names = names
        self._always = limits.guarding("ws.command", f"ws.{method}")
        self._by_namespace: dict[str | None, tuple[Policy, ...]] = {}
        self._new: tuple[Policy, ...] = ()
        self._new_by_namespace: dict[str | None, tuple[Policy, ...]] = {}
        if method in IN_CHANNELS:
            self._new = limits.guarding(NEW_CHANNEL)
            for name in namespaces:
                found = limits.guarding("ws.command", f"ws.{method}", f"ws.{method}:{name}", f"{NAMESPACE}{name}")
                if len(found) > len(self._always):
                    self._by_namespace[name] = found
                found = limits.guarding(NEW_CHANNEL, f"{NEW_CHANNEL}:{name}")
                if len(found) > len(self._new):
                    self._new_by_namespace[name] = found

    def __bool__(self) -> bool:
        return bool(self._always or self._by_namespace or self._new or self._new_by_namespace)

    def policies(self, client: Client, channel: str) -> tuple[Policy, ...]:
        """Those that guard the command of this client in this channel ("" for none), each once."""
        if not channel or not (self._by_namespace or self._new or self._new_by_namespace):
            return self._always
        namespace = namespace_of(channel)
        found = self._by_namespace.get(namespace, self._always)
        new = self._new_by_namespace.get(namespace, self._new)
        if new and not self._names.known(client, channel):
            return (*found, *(policy for policy in new if policy not in found))
        return found

    def used(self, client: Client, channel: str) -> None:
        """The command was not denied: its channel is not new to this client any more."""
        if channel and (self._new or self._new_by_namespace):
            self._names.note(client, channel)


class Names:
    """The channels that each connection has used lately, as hashes. One that was forgotten counts as new again."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[Client, dict[int, None]] = WeakKeyDictionary()

    def known(self, client: Client, channel: str) -> bool:
        """Whether a client is in a channel, or has used it lately."""
        return channel in client.subscriptions or hash(channel) in self._names.get(client, ())

    def note(self, client: Client, channel: str) -> None:
        """A client uses a channel; beyond MAX_NAMES the one used longest ago is forgotten."""
        names = self._names.get(client)
        if names is None:
            names = self._names[client] = {}
        name = hash(channel)
        names.pop(name, None)
        names[name] = None
        if len(names) > MAX_NAMES:
            del names[next(iter(names))]


class Abuse:
    """Ends connections that are denied `denials` times within `window` seconds. None switches it off."""

    def __init__(self, configured: Mapping[str, Any] | None) -> None:
        self._max = int((configured or {}).get("denials", 100))
        self._window = float((configured or {}).get("window", 10))
        self._off = configured is None
        self._denied: WeakKeyDictionary[Client, deque[float]] = WeakKeyDictionary()

    def note(self, client: Client) -> None:
        """A command was denied. Raises DisconnectError 3013 for one too many."""
        if self._off:
            return
        times = self._denied.get(client)
        if times is None:
            times = self._denied[client] = deque(maxlen=self._max)
        now = client.node.now()
        times.append(now)
        if len(times) == self._max and now - times[0] <= self._window:
            raise DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail=f"{self._max} denials in {self._window:g} s")


def _behind(guard: Guard, abuse: Abuse, method: str, handler: Handler) -> Handler:
    async def limited(client: Client, id: int, request: Any) -> Answer:
        channel = getattr(request, "channel", "")
        policies = guard.policies(client, channel)
        if policies:
            subject = Subject(client.address, client.identity.user, client.id, channel)
            decision = await guard.limits.ask(policies, subject)
            if not decision.allowed:
                abuse.note(client)
                if not id:
                    return None
                raise CommandError(ErrorCode.TOO_MANY_REQUESTS, denial(decision.retry_after))
        guard.used(client, channel)
        answer = handler(client, id, request)
        if method in AT_ONCE:
            answer = answer() if callable(answer) else _already(answer)
        done: Answer = await answer
        return done

    if method not in AT_ONCE:
        return limited

    def at_once(client: Client, id: int, request: Any) -> Any:
        channel = getattr(request, "channel", "")
        if guard.policies(client, channel):
            return partial(limited, client, id, request)
        guard.used(client, channel)
        return handler(client, id, request)

    return at_once


async def _already(answer: bytes | None) -> bytes | None:
    return answer


def denial(seconds: float) -> str:
    """The message of error 111: the protocol has no other field for a time."""
    return f"too many requests: retry in {max(0.01, seconds):.2f} s"
