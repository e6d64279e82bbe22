"""Every setting of the real-time app: names, types, defaults, and the rules between them.

The values come from `settings.REALTIME`, overridden option by option by the file `settings.REALTIME_CONFIG`, by
`settings.REALTIME_TOKEN_SECRET`, `REALTIME_API_KEYS` and `REALTIME_ALLOWED_ORIGINS`, and by the same keys in
`settings.FLOTILLA`. A configuration with any fault is refused as a whole: `get_config()` never returns half of one.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from django.conf import settings
from msgspec import Meta, Struct, field

from flotilla.conf import Part
from flotilla.config_reader import CALLABLE, PositiveSeconds, Reader, Seconds
from flotilla.problems import Problem
from flotilla.realtime import token_settings, webhook_settings
from flotilla.realtime.origin import fault_of
from flotilla.realtime.webhook_settings import Webhook

Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Hook = str | Callable[..., Any] | None
"""A permission hook: a callable `(user, channel, info) -> bool`, sync or async, or its dotted path."""
Share = Annotated[float, Meta(ge=0, le=1)]
Leeway = Annotated[float, Meta(ge=0, le=300, extra={"kind": "duration"})]
Texts = str | tuple[str, ...]
"""One text or a list of them."""

_Rule = Callable[..., Iterator[Problem]]
_NAMESPACE_NAME = re.compile(r"[-A-Za-z0-9_.]+")


class ChannelOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a namespace's channels do and who may do what with them. Everything is off until it is turned on."""

    presence: bool = False
    """Keep who is subscribed: for `presence` and `presence_stats`, signals and the admin."""
    join_leave: bool | Literal["user"] = False
    """Tell subscribers who ask for it who comes and goes: every connection, or with `"user"` each user once, when its
    first connection comes and when its last one has gone. Visitors have no user: each of their connections counts."""
    force_push_join_leave: bool = False
    """Tell all subscribers who comes and goes, whether they ask or not."""
    history_size: Count = 0
    """Publications a channel keeps; needs `history_ttl` as well."""
    history_ttl: Seconds = 0.0
    """How long a channel keeps them after its last publication."""
    history_meta_ttl: Seconds = 720 * 3600.0
    """How long a channel knows its position after its last publication: at least as long as `history_ttl`."""
    force_recovery: bool = False
    """Every subscriber that comes back gets what it missed, or is told that it cannot; needs history."""
    allow_recovery: bool = False
    """The same for subscribers that ask for it."""
    force_recovery_mode: Literal["stream", "cache"] = "stream"
    """What a subscriber that comes back gets: "stream", everything that it missed; "cache", the newest publication
    alone, as where each says all there is to know. With "cache" it needs force_recovery or allow_recovery."""
    auto_cache_recover: bool = False
    """Every subscriber gets the newest publication, the first time too; needs force_recovery and
    force_recovery_mode "cache"."""
    force_positioning: bool = False
    """Every subscriber is told when publications were lost for it; needs history. Recovery includes it."""
    allow_positioning: bool = False
    """The same for subscribers that ask for it."""
    allow_subscribe_for_client: bool = False
    """Clients with a user may subscribe."""
    allow_subscribe_for_anonymous: bool = False
    """With `allow_subscribe_for_client`: visitors may as well."""
    allow_publish_for_client: bool = False
    """Clients with a user may publish."""
    allow_publish_for_subscriber: bool = False
    """Subscribers may publish."""
    allow_publish_for_anonymous: bool = False
    """With one of the two: visitors may as well."""
    allow_presence_for_client: bool = False
    """Clients with a user may ask who is there."""
    allow_presence_for_subscriber: bool = False
    """Subscribers may ask who is there."""
    allow_presence_for_anonymous: bool = False
    """With one of the two: visitors may as well."""
    allow_history_for_client: bool = False
    """Clients with a user may read the history."""
    allow_history_for_subscriber: bool = False
    """Subscribers may read the history."""
    allow_history_for_anonymous: bool = False
    """With one of the two: visitors may as well."""
    allow_user_limited_channels: bool = False
    """Channels such as `name#7,12` are open to the users named there."""
    publication_data_format: Literal["json", "binary"] = "json"
    """What clients publish: JSON, or bytes of any kind. With `binary`, clients that speak JSON are not let in (error
    108)."""
    allow_tags_filter: bool = False
    """Subscribers may say by a filter of tags which publications they get."""
    conflate: bool = False
    """A subscriber that reads more slowly than is published gets the newest publication of each key (`publish(key=)`)
    and not all of them."""
    delta_publish: bool = False
    """Send every publication as a delta to the subscribers that asked for deltas; else those that are published with
    `delta`."""
    allowed_delta_types: tuple[Literal["fossil"], ...] = ()
    """What kinds of deltas subscribers may ask for: `fossil`."""
    durable: bool = False
    """What is published from Python and over HTTP goes through the outbox: it is written in the caller's transaction,
    and sent after the commit whatever happens to Redis or to a process (`publish(durable=)`); needs history."""
    map: bool = False
    """Experimental. Channels are maps, entries by key that every subscriber has the same of
    ([Maps](CLIENTS.md#maps)); needs history, of which `history_size` changes are kept for who comes back. Publishing
    sets an entry."""
    map_key_ttl: Seconds = 0.0
    """How long an entry stays after it was set; 0: until it is removed."""
    map_max_keys: Positive = 10_000
    """Entries of a map (error 106)."""
    map_max_bytes: Positive = 1_048_576
    """Bytes of a map's keys and entries together (error 106)."""
    map_max_value_bytes: Positive = 16_384
    """Bytes of what a client sets an entry to (error 107)."""
    map_client_key: Literal["", "client_id", "user_id"] = ""
    """The key that clients set and remove, whatever they name: the connection's id or the user's; "" leaves it to
    them."""
    map_owner: Literal["anybody", "user", "client"] = "anybody"
    """Which entries a client may replace and remove (error 103): anybody's, those of its user, or those that this very
    connection has set. Visitors are no user: each connection has its own."""
    map_remove_client_on_unsubscribe: bool = False
    """What a connection has set is removed when it leaves the channel or ends, or its instance dies. Only subscribers
    set entries then, 100 each."""
    map_clients: bool = False
    """Experimental. `$clients:CHANNEL` is a map of the connections that are present; needs `presence`."""
    map_users: bool = False
    """Experimental. `$users:CHANNEL` is a map of the users that are present, each once; needs `presence`."""
    allow_remove_for_client: bool = False
    """Clients with a user may remove entries of a map."""
    allow_remove_for_subscriber: bool = False
    """Subscribers may remove entries of a map."""
    allow_remove_for_anonymous: bool = False
    """With one of the two: visitors may as well."""
    subscribe_permission: Annotated[Hook, CALLABLE] = None
    """`(user, channel, info) -> bool`, sync or async: who may subscribe. It decides alone."""
    publish_permission: Annotated[Hook, CALLABLE] = None
    """`(user, channel, info) -> bool`, sync or async: which clients may publish. It decides alone. `info` is the data,
    in a map `{"key": …, "data": …}`."""
    remove_permission: Annotated[Hook, CALLABLE] = None
    """`(user, channel, info) -> bool`, sync or async: which clients may remove an entry of a map. It decides alone.
    `info` is `{"key": …}`."""
    token_permission: Annotated[Hook, CALLABLE] = None
    """`(user, channel, info) -> bool`, sync or async: who gets a subscription token of the token endpoint."""

    @property
    def has_history(self) -> bool:
        """Whether publications are kept: both a size and a time are needed."""
        return self.history_size > 0 and self.history_ttl > 0


class RealtimeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may connect, what channels can do, and what a client may ask for. Times are seconds, sizes bytes."""

    without_namespace: ChannelOptions = ChannelOptions()
    """The options of channels whose name has no `:`."""
    namespaces: dict[str, ChannelOptions] = field(default_factory=dict)
    """The options of channels by what stands before their first `:`. A name with an unknown one is refused."""
    insecure: bool = False
    """Everything is allowed without a token or rule. For a laptop only; `manage.py check` warns."""
    anonymous: bool = False
    """Clients without session and token may connect, as visitors."""
    user_personal_channel: bool = False
    """Each user's connections are subscribed to the channel `#USER`."""
    show_instance: bool = False
    """Tell clients in the answer to `connect` which instance they are on."""
    recovery_max_publications: Positive = 300
    """Publications a recovery has at most."""
    recovery_max_bytes: Positive = 524288
    """Bytes a recovery, or a page of history, has at most."""
    abuse: dict[str, Any] | None = field(default_factory=lambda: {"denials": 100, "window": 10})
    """Denials of rate limits in a window of seconds after which a connection is ended (3013): `{"denials": 100,
    "window": 10}`, or none."""
    rate_limits: dict[str, Any] = field(default_factory=dict)
    """Rate limits by their names, in addition to those of the project."""
    ping_interval: Seconds = 25.0
    """How often a client is pinged; 0: never."""
    pong_timeout: PositiveSeconds = 8.0
    """How long a client has for its answer before it is ended (3012)."""
    connect_timeout: PositiveSeconds = 10.0
    """How long a client has from its handshake to `connect` (3502)."""
    max_connecting: Positive = 256
    """Clients on their way in at a time, in one process; subscribes that are under way count, too."""
    max_waiting: Positive = 10_000
    """Clients that wait for a place, or have none and say nothing, in one process."""
    admission_rate: Count = 0
    """Clients a second that a process says it can let in beside its work, at most; 0: as many as it has measured. Who
    drains goes by it."""
    max_message_bytes: Positive = 65536
    """Bytes of a client's message (1009)."""
    max_channels: Positive = 128
    """Channels of a connection (error 106, 3505)."""
    max_channel_length: Positive = 255
    """Bytes of a channel's name (error 107)."""
    max_queued_commands: Positive = 256
    """Commands of a connection that wait for an answer, or come in one message (3013)."""
    max_frames_per_second: Positive = 2000
    """Frames of one connection, and commands that come together in one (3013)."""
    max_bytes_per_second: Positive = 16777216
    """Bytes of one connection (3013)."""
    max_outgoing_bytes: Positive = 1048576
    """Bytes that a client has not read before it is ended (3008)."""
    max_joined_bytes: Count = 32768
    """Bytes of publications that came together and leave as one message; 0: one message each."""
    compression: bool = False
    """Messages are compressed for WebSocket clients that offer it (permessage-deflate), on our own server; once for
    everybody in a process."""
    compression_min_bytes: Positive = 256
    """Bytes from which a message to a client is compressed."""
    position_check_interval: PositiveSeconds = 40.0
    """How often a quiet channel is compared with its history."""
    recheck_interval: Seconds = 60.0
    """How often each connection's access is looked at again; 0: only on a signal or a command."""
    recheck_per_second: Positive = 200
    """Connections that a process looks at a second in these rounds."""
    max_connections_per_user: Count = 0
    """Connections of a user over all instances; 0: any number."""
    connection_limit_policy: Literal["refuse", "oldest"] = "refuse"
    """Which one of too many connections is ended (3504): the new one is refused, or the oldest goes."""
    publish_within: PositiveSeconds = 2.0
    """How long one request waits for Redis in all, over everything it publishes, where it is told of no error."""
    live_bulk_max: Positive = 1000
    """Changes of one channel's rows by one call that live models tell one by one; of more, subscribers are told to load
    the channel anew."""
    relay: bool = True
    """Serving processes send what the outbox holds, one of them at a time; without, `manage.py relay` has to run."""
    outbox_keep: PositiveSeconds = 3600.0
    """How long rows of the outbox stay once they are sent, to be sent again where Redis has lost them."""
    outbox_attempts: Positive = 5
    """Attempts after which a row of the outbox that cannot be sent is set aside, and its channel goes on."""
    token_secret: Texts = ""
    """HMAC secrets of tokens: of several the first signs, and all verify. Without a secret or key every token is
    refused."""
    token_public_keys: Texts = ()
    """Public keys (PEM) of those who sign tokens with RS256, ES256 or EdDSA."""
    token_jwks_url: Texts = ""
    """Where issuers publish their keys (JWKS), one address or several: https, or this machine."""
    token_audience: Texts = ""
    """What a token must have as `aud`: one of these."""
    token_issuer: Texts = ""
    """What a token must have as `iss`: one of these."""
    token_user_claim: str = "sub"
    """The claim that names the user, as `user_id` of SimpleJWT."""
    token_type_claim: str = "token_type"
    """The claim that says what kind of token it is, where a token has it."""
    token_types: tuple[str, ...] = ("access",)
    """What that claim may say, so that a refresh token connects nobody."""
    token_leeway: Leeway = 0.0
    """By how much the clocks of issuers may differ from ours."""
    token_ttl: PositiveSeconds = 600.0
    """How long a token of the token endpoint holds."""
    subscription_token_secret: Texts = ""
    """HMAC secrets of subscription tokens. With any of these three, keys of connection tokens open no channel."""
    subscription_token_public_keys: Texts = ()
    """Public keys (PEM) of those who sign subscription tokens."""
    subscription_token_jwks_url: Texts = ""
    """Where issuers of subscription tokens publish their keys."""
    subscription_token_audience: Texts = ""
    """What a subscription token must have as `aud`: one of these."""
    subscription_token_issuer: Texts = ""
    """What a subscription token must have as `iss`: one of these."""
    authenticate: Annotated[Hook, CALLABLE] = None
    """`(request) -> user`, sync or async: who a client is, asked before tokens and sessions."""
    authenticate_again: Seconds = 3600.0
    """When a connection that `authenticate` let in ends, and comes back to be asked again; 0: never."""
    api_keys: tuple[str, ...] = ()
    """Keys of the HTTP API; without one it is closed."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may connect beside those of the same host: `https://app.example.com`,
    `https://*.example.com`."""
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    """Other services that are told what happens, by names of your choice ([Webhooks](WEBHOOKS.md))."""
    lease_ttl: PositiveSeconds = 6.0
    """How long an instance counts as alive without a sign of life: after that its clients leave presence."""
    lease_renew: PositiveSeconds = 2.0
    """How often an instance gives a sign of life."""
    reaper_interval: PositiveSeconds = 1.0
    """How often an instance looks for others that have died."""
    disconnect_without_redis_after: Seconds = 0.0
    """How long an instance that does not reach Redis keeps its clients; then they are told to reconnect (3011), so that
    they come to an instance that reaches it ([Scaling out](SCALE_OUT.md#several-hosts)). 0: always."""
    tracing: bool = False
    """Make spans of what is sampled, with OpenTelemetry (the extra `tracing`)."""
    tracing_ratio: Share = 0.001
    """The share of publications and commands that are sampled without a caller's trace; 0: only with one."""
    tracing_provider: Annotated[Hook, CALLABLE] = None
    """`() -> TracerProvider`, called once in each process: where spans go. Without it, to the provider that the process
    has set with OpenTelemetry's own `set_tracer_provider`."""
    tracing_channels: bool = False
    """Put names of channels into spans, not only their namespaces."""

    def max_publication_bytes(self, options: ChannelOptions) -> int:
        """What a publication with all around it may have, so that a client can be sent it. With deltas, JSON clients
        get it as a text, which has twice as many bytes at worst."""
        return self.max_outgoing_bytes // 2 if options.allowed_delta_types else self.max_outgoing_bytes

    @property
    def has_maps(self) -> bool:
        """Whether any channel is a map whose entries may end by themselves."""
        return any(options.map for _, options in self.scopes())

    def scopes(self) -> Iterator[tuple[str, ChannelOptions]]:
        """Every set of channel options with its path, as `namespaces.chat`."""
        yield "without_namespace", self.without_namespace
        for name, options in self.namespaces.items():
            yield f"namespaces.{name}", options


_OWN_SETTINGS = ("token_secret", "api_keys", "allowed_origins")  # as REALTIME_TOKEN_SECRET
_provided: dict[str, ChannelOptions] = {}


def provide_namespace(name: str, options: ChannelOptions) -> None:
    """Let an app of the platform have a namespace of its own, beside those that are configured: the name is taken."""
    _provided[name] = options
    get_config.reset()


def provided_namespace(name: str) -> ChannelOptions | None:
    """The options of a namespace that an app provides."""
    return _provided.get(name)


def _sources(reader: Reader) -> None:
    """The settings that FLOTILLA unites, a later one winning over an earlier one."""
    if limits := getattr(settings, "RATE_LIMITS", None):
        reader.add({"rate_limits": limits}, "settings.RATE_LIMITS")
    reader.add(getattr(settings, "REALTIME", {}), "settings.REALTIME")
    if path := getattr(settings, "REALTIME_CONFIG", None):
        reader.add_file(Path(path))
    for key in _OWN_SETTINGS:
        name = f"REALTIME_{key.upper()}"
        if value := getattr(settings, name, None):
            reader.add({key: value}, f"settings.{name}")


def _build(reader: Reader) -> RealtimeConfig:
    values: dict[str, Any] = dict(reader.values)
    values["without_namespace"] = ChannelOptions(**values.get("without_namespace", {}))
    namespaces = values.get("namespaces", {})
    values["namespaces"] = {name: ChannelOptions(**options) for name, options in namespaces.items()}
    values["webhooks"] = {name: Webhook(**options) for name, options in values.get("webhooks", {}).items()}
    made = RealtimeConfig(**values)
    reader.problems += _rules(made, reader)
    return made


def _rules(config: RealtimeConfig, reader: Reader) -> Iterator[Problem]:
    """Faults between options. An option whose own value is already at fault is not judged again."""
    faulty = {problem.path for problem in reader.problems}

    def rule(holds: bool, path: str, message: str, hint: str, *others: str) -> Iterator[Problem]:
        if not holds and faulty.isdisjoint((path, *others)):
            yield Problem(path, message, hint, reader.where(path, *others))

    for path, options in config.scopes():
        yield from _scope_rules(path, options, rule)
    for name in _provided:
        hint = "Rename it: the platform uses this namespace itself."
        yield from rule(
            name not in reader.values.get("namespaces", {}), f"namespaces.{name}", "the name is taken", hint
        )
    yield from _map_names(config, rule)
    yield from _top_rules(config, rule)


def _scope_rules(path: str, options: ChannelOptions, rule: _Rule) -> Iterator[Problem]:
    size, ttl, meta_ttl = (f"{path}.{key}" for key in ("history_size", "history_ttl", "history_meta_ttl"))
    kept, timed = options.history_size > 0, options.history_ttl > 0
    name = path.removeprefix("namespaces.")
    named = name == path or _NAMESPACE_NAME.fullmatch(name) is not None
    hint = "Rename it; its channels begin with `name:`."
    yield from rule(named, path, "expected a name of letters, digits, `-`, `_`, `.`", hint)
    hint = 'Set history_ttl as well, as in "300s".'
    yield from rule(timed or not kept, size, "history needs a time too", hint, ttl)
    yield from rule(kept or not timed, ttl, "history needs a size too", "Set history_size as well, as in 100.", size)
    outlives = not options.has_history or options.history_meta_ttl >= options.history_ttl
    hint = "Raise it: a position must outlive the publications it counts."
    yield from rule(outlives, meta_ttl, "expected at least history_ttl", hint, ttl)
    for key in ("force_recovery", "force_positioning"):
        holds = options.has_history or not getattr(options, key)
        hint = f"Set history_size and history_ttl, or remove {key}."
        yield from rule(holds, f"{path}.{key}", "expected history to be on", hint, size, ttl)
    yield from _cache_rules(path, options, rule)
    yield from _map_rules(path, options, rule)


def _map_rules(path: str, options: ChannelOptions, rule: _Rule) -> Iterator[Problem]:
    on = f"{path}.map"
    hint = "Set history_size and history_ttl, for the changes that are kept for who comes back, or remove map."
    sizes = f"{path}.history_size", f"{path}.history_ttl"
    yield from rule(not options.map or options.has_history, on, "expected history to be on", hint, *sizes)
    for key in ("conflate", "delta_publish", "auto_cache_recover", "allow_tags_filter", "durable"):
        holds = not (options.map and getattr(options, key))
        yield from rule(holds, f"{path}.{key}", "a map has no such option", f"Remove {key}, or map.", on)
    mode = f"{path}.force_recovery_mode"
    whole = not options.map or options.force_recovery_mode == "stream"
    yield from rule(whole, mode, 'expected "stream" in a map', "Remove force_recovery_mode: a map recovers all.", on)
    for key in ("map_clients", "map_users"):
        holds = options.presence or not getattr(options, key)
        hint = f"Set presence as well, or remove {key}."
        yield from rule(holds, f"{path}.{key}", "expected presence to be on", hint, f"{path}.presence")


def _map_names(config: RealtimeConfig, rule: _Rule) -> Iterator[Problem]:
    """Names of channels that stand for maps of presence must not be those of a namespace's private channels, and
    personal channels, which the server subscribes to, no maps."""
    on = "without_namespace.map", "user_personal_channel"
    hint = "Set map in a namespace: personal channels have none, and the server subscribes its clients to them."
    yield from rule(
        not (config.without_namespace.map and config.user_personal_channel),
        on[0],
        "is off with user_personal_channel",
        hint,
        on[1],
    )
    for name, key in (("clients", "map_clients"), ("users", "map_users")):
        wanted = [path for path, options in config.scopes() if getattr(options, key)]
        hint = f"Rename the namespace, or remove {key}: ${name}:CHANNEL are maps of who is present."
        holds = not wanted or name not in config.namespaces
        yield from rule(holds, f"namespaces.{name}", f"the name is taken by {key} of {', '.join(wanted)}", hint)


def _cache_rules(path: str, options: ChannelOptions, rule: _Rule) -> Iterator[Problem]:
    cached, forced = options.force_recovery_mode == "cache", options.force_recovery
    mode, force, automatic = (
        f"{path}.{key}" for key in ("force_recovery_mode", "force_recovery", "auto_cache_recover")
    )
    hint = "Set force_recovery, or allow_recovery for those that ask, or remove force_recovery_mode."
    holds = not cached or ((forced or options.allow_recovery) and options.has_history)
    yield from rule(holds, mode, "expected recovery to be on", hint, force, f"{path}.allow_recovery")
    hint = 'Set force_recovery and force_recovery_mode to "cache", or remove auto_cache_recover.'
    holds = not options.auto_cache_recover or (cached and forced)
    yield from rule(holds, automatic, "expected recovery from the cache to be forced", hint, mode, force)


def _top_rules(config: RealtimeConfig, rule: _Rule) -> Iterator[Problem]:
    holds = not config.ping_interval or config.pong_timeout < config.ping_interval
    message = f"expected less than ping_interval ({config.ping_interval:g} s)"
    hint = "Lower pong_timeout, or raise ping_interval (0 turns pings off)."
    yield from rule(holds, "pong_timeout", message, hint, "ping_interval")
    message = f"expected less than lease_ttl ({config.lease_ttl:g} s)"
    hint = "Renew at least twice before the lease runs out, for example every 2 s of 6 s."
    yield from rule(config.lease_renew < config.lease_ttl, "lease_renew", message, hint, "lease_ttl")
    message = f"expected 0, or at least lease_ttl ({config.lease_ttl:g} s)"
    hint = "Raise it, for example to 15 s: an instance that restarts with Redis must not lose its clients."
    holds = not (after := config.disconnect_without_redis_after) or after >= config.lease_ttl
    yield from rule(holds, "disconnect_without_redis_after", message, hint, "lease_ttl")
    message = f"expected at least max_message_bytes ({config.max_message_bytes})"
    hint = "Raise it: the largest message must fit into the bytes of one second."
    holds = config.max_bytes_per_second >= config.max_message_bytes
    yield from rule(holds, "max_bytes_per_second", message, hint, "max_message_bytes")
    hint = 'Write {"denials": 100, "window": 10}, or None to switch it off.'
    yield from rule(_is_abuse(config.abuse), "abuse", "expected denials and window (seconds), both above 0", hint)
    for origin in config.allowed_origins:
        mend = fault_of(origin)
        yield from rule(not mend, "allowed_origins", f"expected `*` or an origin, got {origin!r}", mend)
    for path, fault, mend in (*token_settings.faults(config), *webhook_settings.faults(config)):
        above = path.rpartition(".")[0]  # a mapping that is at fault, or was left empty, has no such key to name
        yield from rule(False, path, fault, mend, *([above] if above else []))


def _is_abuse(abuse: dict[str, Any] | None) -> bool:
    numbers = (int, float)
    return abuse is None or (
        set(abuse) <= {"denials", "window"}
        and all(isinstance(value, numbers) and not isinstance(value, bool) and value > 0 for value in abuse.values())
        and abuse.get("denials", 1) >= 1
    )


get_config: Part[RealtimeConfig] = Part(
    RealtimeConfig,
    also=("REALTIME", "REALTIME_CONFIG", "RATE_LIMITS", *(f"REALTIME_{key.upper()}" for key in _OWN_SETTINGS)),
    sources=_sources,
    build=_build,
)
"""The configuration of this process. Raises ConfigProblems (an ImproperlyConfigured)."""
