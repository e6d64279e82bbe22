"""Policies: what a project configures under RATE_LIMITS, read and checked. Pure, except that callables are imported.

A policy names what it guards, whom it counts, the rate, and what happens while Redis is away. Reading collects every
fault with what to do about it; a set with any fault is never used.

A policy that counts by address or header has a second, wider bound beside it. Somebody who can make up identities
(values of a header, addresses of an IPv6 network) gets `wider` times the quota for all of them together, instead of one
quota for each.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from django.utils.module_loading import import_string

from flotilla.problems import Problem
from flotilla.ratelimit.algorithms.rates import MAX_COUNT, MEND, Rate, parse_rate
from flotilla.ratelimit.subjects import HEADER, SIMPLE_KEYS, Key, KeyFunction

OPEN, CLOSED, LOCAL = "open", "closed", "local"
FAILURES = (OPEN, CLOSED, LOCAL)
WIDER = 32
NETWORK = "network"  # the key of a wider bound; none that can be configured
WEBSOCKET = tuple(
    f"ws.{what}"
    for what in (
        "connect",
        "command",
        "publish",
        "subscribe",
        "rpc",
        "send",
        "history",
        "presence",
        "presence_stats",
        "new_channel",
    )
)
NAMESPACE = "namespace:"
HTTP = "http"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_METHOD = re.compile(r"[A-Z]{1,20}")


@dataclass(frozen=True, slots=True)
class Policy:
    """One limit. `failure`: what is decided while Redis is away; `shadow`: it counts and never denies; `wider`: how
    many times the quota all have together who share an address or IPv6 /48 (0: any number); `narrow`: the policy of
    which this is the wider bound."""

    name: str
    guards: tuple[str, ...]
    key: Key
    rate: Rate
    cost: int = 1
    failure: str = OPEN
    shadow: bool = False
    methods: frozenset[str] = frozenset()
    wider: int = WIDER
    narrow: "Policy | None" = None

    @property
    def counts_by(self) -> str:
        """The key in words."""
        return self.key if isinstance(self.key, str) else getattr(self.key, "__qualname__", repr(self.key))

    @property
    def in_memory(self) -> bool:
        """Whether it is decided in the process: a connection is in one process only."""
        return self.key == "connection"

    @property
    def has_wider(self) -> bool:
        """Whether its identities can be made up, and are bounded."""
        return self.wider > 0 and self.narrow is None and _can_be_made_up(self.key)

    def widened(self) -> "Policy":
        """Its wider bound. No configured policy has such a name."""
        rate = self.rate.widened(self.wider)
        return replace(self, name=f"{self.name}:wider", key=NETWORK, rate=rate, narrow=self)


_OPTIONS = sorted({field.name for field in fields(Policy)} - {"name", "narrow"} | {"burst"})


def with_wider(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """The policies, and the wider bounds of those that have one."""
    found = [policy for policy in policies if policy.narrow is None]
    return (*found, *(policy.widened() for policy in found if policy.has_wider))


def _can_be_made_up(key: Key) -> bool:
    return isinstance(key, str) and (key in ("ip", "user_or_ip") or key.startswith(HEADER))


def read_policies(raw: object, namespaces: Collection[str] | None = None) -> tuple[list[Policy], list[Problem]]:
    """The policies of a mapping name → options, and all that is wrong. `namespaces` None: any name may be meant."""
    if not isinstance(raw, Mapping):
        return [], [Problem("rate_limits", "expected a mapping", 'Write {"name": {"guards": …, "key": …, "rate": …}}.')]
    policies, problems = [], []
    for name, options in raw.items():
        reader = _Reader(str(name), namespaces)
        policy = reader.read(options)
        problems += reader.problems
        if policy is not None and not reader.problems:
            policies.append(policy)
    return policies, problems


class _Reader:
    """Reads one policy."""

    def __init__(self, name: str, namespaces: Collection[str] | None) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self._namespaces = namespaces

    def read(self, options: object) -> Policy | None:
        if not _NAME.fullmatch(self.name):
            self._fault("", "is not a name for a policy", "Use up to 64 letters, digits, `_`, `.` and `-`.")
        if not isinstance(options, Mapping):
            self._fault("", "expected a mapping", 'Write {"guards": "http", "key": "ip", "rate": "100/m"}.')
            return None
        for option in options:
            if option not in _OPTIONS:
                close = difflib.get_close_matches(str(option), _OPTIONS, n=1)
                self._fault(option, "there is no such option", f"Did you mean {close[0]}?" if close else "Remove it.")
        rate = self._rate(options)
        cost = self._whole(options, "cost", 1)
        if rate is not None and cost > rate.quota:
            self._fault("cost", f"{cost} is more than the whole quota of {rate.quota}", "Lower it, or raise the rate.")
        failure = options.get("failure", OPEN)
        if failure not in FAILURES:
            self._fault("failure", f"{failure!r} is not a failure mode", f"Write one of {', '.join(FAILURES)}.")
        shadow = options.get("shadow", False)
        if not isinstance(shadow, bool):
            self._fault("shadow", "expected true or false", "Write true to count without denying.")
        guards, key, methods = self._guards(options), self._key(options), self._methods(options)
        wider = self._wider(options, key)
        if rate is None or self.problems:
            return None
        return Policy(self.name, guards, key, rate, cost, failure, shadow, methods, wider)

    def _fault(self, option: object, message: str, hint: str) -> None:
        path = f"rate_limits.{self.name}" + (f".{option}" if option else "")
        self.problems.append(Problem(path, message, hint))

    def _rate(self, options: Mapping[Any, Any]) -> Rate | None:
        burst = self._whole(options, "burst", None)
        if "rate" not in options:
            self._fault("rate", "it is required", MEND)
            return None
        try:
            return parse_rate(options["rate"], burst)
        except ValueError as error:
            self._fault("rate", str(error), MEND)
            return None

    def _whole(self, options: Mapping[Any, Any], option: str, default: Any) -> Any:
        value = options.get(option, default)
        if value is default or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        self._fault(option, f"{value!r} is not a whole number from 1", f"Write one, or remove {option}.")
        return default

    def _wider(self, options: Mapping[Any, Any], key: Key) -> int:
        value = options.get("wider", WIDER)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
            self._fault(
                "wider", f"{value!r} is not a whole number from 0", "Write a multiple of the quota; 0: no bound."
            )
            return WIDER
        if value and "wider" in options and not _can_be_made_up(key):
            self._fault(
                "wider", "it has no effect", "Remove it: only ip, user_or_ip and header:NAME have a wider bound."
            )
        return value

    def _guards(self, options: Mapping[Any, Any]) -> tuple[str, ...]:
        value = options.get("guards")
        guards = [value] if isinstance(value, str) else value
        if not isinstance(guards, list | tuple) or not guards or not all(isinstance(guard, str) for guard in guards):
            self._fault("guards", "it is required, as a string or a list of them", GUARDS_MEND)
            return ()
        for guard in guards:
            if problem := guard_problem(guard, self._namespaces):
                self._fault("guards", *problem)
        return tuple(guards)

    def _key(self, options: Mapping[Any, Any]) -> Key:
        key: Any = options.get("key")
        mend = f"Write one of {', '.join(SIMPLE_KEYS)}, header:NAME, or a callable's dotted path."
        if callable(key):
            return cast(KeyFunction, key)
        if not isinstance(key, str):
            self._fault("key", "it is required", mend)
        elif key.startswith(HEADER):
            if not _HEADER_NAME.fullmatch(key.removeprefix(HEADER)):
                self._fault("key", f"{key!r} is not a header's name", "Write it as header:X-API-Key.")
        elif key not in SIMPLE_KEYS:
            return self._called(key, mend)
        elif key in ("connection", "channel") and _is_http(options.get("guards")):
            self._fault("key", f"a request has no {key}", "Count requests by ip, user, user_or_ip or header:NAME.")
        elif key in ("user", "connection", "channel") and "ws.connect" in _listed(options.get("guards")):
            self._fault("key", f"a handshake has no {key} yet", "Count handshakes by ip or header:NAME.")
        return str(key)

    def _called(self, key: str, mend: str) -> Key:
        if "." not in key:
            self._fault("key", f"{key!r} is not a key", mend)
            return key
        try:
            function: Any = import_string(key)
        except ImportError as error:
            self._fault("key", f"{key!r} cannot be imported: {error}", mend)
            return key
        if not callable(function):
            self._fault("key", f"{key!r} cannot be called", mend)
            return key
        return cast(KeyFunction, function)

    def _methods(self, options: Mapping[Any, Any]) -> frozenset[str]:
        methods = options.get("methods", [])
        if isinstance(methods, list | tuple) and all(isinstance(m, str) and _METHOD.fullmatch(m) for m in methods):
            if methods and not _is_http(options.get("guards")):
                self._fault("methods", "only requests have methods", "Remove it, or guard http.")
            return frozenset(methods)
        self._fault("methods", "expected a list of HTTP methods", 'Write ["POST", "PUT"], or remove it.')
        return frozenset()


def _listed(guards: object) -> list[str]:
    return [str(guard) for guard in guards] if isinstance(guards, list | tuple) else [str(guards)]


def _is_http(guards: object) -> bool:
    return any(guard.partition(":")[0] == HTTP for guard in _listed(guards))


GUARDS_MEND = (
    f"Write http, http:/path/prefix/, http:route-name, {', '.join(WEBSOCKET[:4])}, ws.publish:NAMESPACE or "
    "namespace:NAME."
)


def guard_problem(guard: str, namespaces: Collection[str] | None) -> tuple[str, str] | None:
    """What is wrong with one guard, and the mend. Whether a route exists is judged by the system checks."""
    kind, _, rest = guard.partition(":")
    if kind == HTTP:
        return None if rest or guard == HTTP else (f"{guard!r} names nothing", GUARDS_MEND)
    if f"{kind}:" != NAMESPACE and kind not in WEBSOCKET:
        close = difflib.get_close_matches(guard, (HTTP, *WEBSOCKET), n=1)
        return f"{guard!r} is nothing that can be guarded", f"Did you mean {close[0]}?" if close else GUARDS_MEND
    if ":" in guard and namespaces is not None and rest not in namespaces:
        known = ", ".join(sorted(namespaces)) or "none"
        return f"there is no namespace {rest!r}", f"Write one of those configured ({known}), or configure it."
    return None
