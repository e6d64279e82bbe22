"""System checks of the real-time configuration: each fault by name, with its mend.

Errors are what `get_config()` refuses, hooks that cannot be imported and public keys that cannot be read; warnings are
what works but should be known before it meets the internet. No check repeats a secret.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning, register

from flotilla._extras import MissingExtra
from flotilla.conf import problems
from flotilla.config_reader import ConfigProblems
from flotilla.realtime.access import trust
from flotilla.realtime.access.authentication_hook import resolved
from flotilla.realtime.access.hooks import name_of, resolve
from flotilla.realtime.access.public_keys import CryptographyMissing, UnusableKey, read_pem
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig, get_config
from flotilla.realtime.origin import covers_a_top_level
from flotilla.speedups import IMPLEMENTATION, PURE_PYTHON
from flotilla.store import in_process, isolation
from flotilla.store.conf import ALONE, NO_REDIS_MEND, get_store_config, serves

MIN_SECRET = 32
"""Bytes of a token secret that no one can guess: the size of the hash in HS256 (RFC 7518, 3.2)."""
INSTALL = 'Install it, as with `pip install "django-flotilla[jwt]"`.'


@register("realtime")
def check_realtime(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Everything that can be said of the configuration without starting."""
    found: list[CheckMessage] = [
        Error(item.fault, hint=item.hint or None, id="flotilla_realtime.E001") for item in dict.fromkeys(problems())
    ]
    try:
        config = get_config()
    except ConfigProblems:
        return found
    return [
        *found,
        *_redis(),
        *_hooks(config),
        *_secrets(config),
        *_webhooks(config),
        *_public_keys(config),
        *_openness(config),
        *_open_reading(config),
        *_without_effect(config),
        *_durable(config),
        *_tracing(config),
    ]


@register("realtime", deploy=True)
def check_speedups(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Whether the native part runs where it is wanted; `check --deploy` says so."""
    if IMPLEMENTATION == "native" or os.environ.get(PURE_PYTHON):
        return []
    message = "Flotilla runs in pure Python: its native part was not compiled for this machine."
    mend = f"`python -m flotilla.speedups.build` compiles it with a C compiler. Or say {PURE_PYTHON}=1: not wanted."
    return [Info(message, hint=mend, id="flotilla_realtime.I040")]


def _redis() -> Iterator[CheckMessage]:
    with suppress(ConfigProblems):
        if not get_store_config().redis_urls:
            yield Error("No Redis is configured.", hint=NO_REDIS_MEND, id="flotilla_realtime.E003")
        if get_store_config().in_process:
            yield from _in_process()


def _in_process() -> Iterator[CheckMessage]:
    if not in_process.can_run():
        yield Error("The engine in the process cannot run.", hint=in_process.NEEDS_LUPA, id="flotilla_realtime.E020")
    elif isolation.begun():
        return
    elif serves():
        yield Error(f"{ALONE} `serve` starts several.", hint=NO_REDIS_MEND, id="flotilla_realtime.E021")
    elif not settings.DEBUG:
        message = "The engine in the process is used with DEBUG off: other processes reach none of its clients."
        yield Warning(message, hint=NO_REDIS_MEND, id="flotilla_realtime.W030")
    elif sys.argv[1:2] in (["runserver"], ["check"]):
        message = "No Redis: the engine in this process is used. It serves this process alone, and keeps nothing."
        yield Info(message, hint=NO_REDIS_MEND, id="flotilla_realtime.I030")


def _tracing(config: RealtimeConfig) -> Iterator[CheckMessage]:
    if config.tracing and find_spec("opentelemetry") is None:
        missing = MissingExtra("tracing", "tracing", "opentelemetry-api")
        hint = "Install it, or turn tracing off."
        yield Warning(f"Nothing is traced: {missing}.", hint=hint, id="flotilla_realtime.W008")
    elif config.tracing_provider is not None and not config.tracing:
        hint = "Turn tracing on as well, or remove tracing_provider."
        yield Warning("tracing_provider has no effect.", hint=hint, id="flotilla_realtime.W005")


def _durable(config: RealtimeConfig) -> Iterator[CheckMessage]:
    for path, options in config.scopes():
        if options.durable and not options.has_history:
            message = f"{path}.durable: without history, whoever is away when a publication is sent misses it."
            hint = "Set history_size and history_ttl as well, and force_recovery or allow_recovery; or remove durable."
            yield Warning(message, hint=hint, id="flotilla_realtime.W010")


def _hooks(config: RealtimeConfig) -> Iterator[CheckMessage]:
    found = [("authenticate", config.authenticate, resolved), ("tracing_provider", config.tracing_provider, resolve)]
    for path, options in config.scopes():
        for key in ("subscribe_permission", "publish_permission", "token_permission"):
            found.append((f"{path}.{key}", getattr(options, key), resolve))
    for path, hook, find in found:
        try:
            if hook is not None:
                find(hook)
        except (ImportError, TypeError) as error:
            message = f"{path}: the hook {name_of(hook)} cannot be used: {error}"
            yield Error(
                message, hint="Correct its dotted path, or what its module raises.", id="flotilla_realtime.E002"
            )


def _secrets(config: RealtimeConfig) -> Iterator[CheckMessage]:
    random = "32 random bytes or more: `openssl rand -hex 32`."
    mend = f"Set token_secret of FLOTILLA (or REALTIME_TOKEN_SECRET) to {random}"
    if not trust.of_connections(config).has_keys:
        message = "Neither a token secret nor a public key is set: every token is refused, and sessions alone count."
        yield Info(message, hint=mend, id="flotilla_realtime.I001")
    for name in ("token_secret", "subscription_token_secret"):
        secrets = trust.texts(getattr(config, name))
        for position, secret in enumerate(secrets):
            if (size := len(secret.encode())) < MIN_SECRET:
                which = f"{name}[{position}]" if len(secrets) > 1 else name
                message = f"{which} has {size} bytes, fewer than {MIN_SECRET}: tokens could be forged."
                yield Warning(message, hint=f"Set it to {random}", id="flotilla_realtime.W002")


def _webhooks(config: RealtimeConfig) -> Iterator[CheckMessage]:
    for name, webhook in config.webhooks.items():
        if any(len(secret.encode()) < MIN_SECRET for secret in webhook.secrets):
            message = f"webhooks.{name}.secret has fewer than {MIN_SECRET} bytes: requests could be forged."
            hint = "Set it to 32 random bytes or more: `openssl rand -hex 32`."
            yield Warning(message, hint=hint, id="flotilla_realtime.W009")


def _public_keys(config: RealtimeConfig) -> Iterator[CheckMessage]:
    for name in ("token_public_keys", "subscription_token_public_keys"):
        for position, pem in enumerate(trust.texts(getattr(config, name))):
            try:
                read_pem(pem)
            except CryptographyMissing as error:
                yield Error(f"{name}: {error}.", hint=INSTALL, id="flotilla_realtime.E010")
            except UnusableKey as error:
                hint = 'Write the PEM text of a public key, "-----BEGIN PUBLIC KEY-----…".'
                yield Error(f"{name}[{position}] cannot be used: {error}.", hint=hint, id="flotilla_realtime.E010")
    for name in ("token_jwks_url", "subscription_token_jwks_url"):
        if getattr(config, name) and find_spec("cryptography") is None:
            yield Error(f"{name}: {CryptographyMissing()}.", hint=INSTALL, id="flotilla_realtime.E010")


def _openness(config: RealtimeConfig) -> Iterator[CheckMessage]:
    if "*" in config.allowed_origins:
        hint = "List the origins of your pages instead. Session cookies do not count under `*`."
        yield Warning("allowed_origins lets any web page connect.", hint=hint, id="flotilla_realtime.W003")
    for entry in filter(covers_a_top_level, config.allowed_origins):
        message = f"allowed_origins: {entry} lets every site in that domain connect with your users' sessions."
        yield Warning(message, hint="Name your own domain, as https://*.example.com.", id="flotilla_realtime.W006")
    if config.insecure:
        hint = "Remove `insecure` outside of tests and development."
        yield Warning("Insecure mode: anyone may do anything.", hint=hint, id="flotilla_realtime.W004")


def _open_reading(config: RealtimeConfig) -> Iterator[CheckMessage]:
    """Reading follows the namespace's options alone: neither names with `#` nor a subscribe hook stand before it."""
    for path, options in config.scopes() if not config.insecure else ():
        personal = config.user_personal_channel and options is config.without_namespace
        guards = list(_guards(options, personal))
        for what, kept in (("history", options.has_history), ("presence", options.presence)):
            everybody, visitors = (getattr(options, f"allow_{what}_for_{whom}") for whom in ("client", "anonymous"))
            only_users = visitors and not options.allow_subscribe_for_anonymous
            if kept and everybody and (found := guards or ["not allow_subscribe_for_anonymous"] * only_users):
                message = (
                    f"{path}: subscribing is guarded ({', '.join(found)}), but allow_{what}_for_client opens the {what}"
                )
                message += " to visitors." if not guards else " of every channel to whoever knows its name."
                hint = f"Turn off allow_{what}_for_{'client' if guards else 'anonymous'}"
                hint += f", and allow_{what}_for_subscriber on." if guards else "."
                yield Warning(message, hint=hint, id="flotilla_realtime.W007")


def _guards(options: ChannelOptions, personal: bool) -> Iterator[str]:
    """What keeps somebody who is signed in from subscribing to some channels of these options, `$` aside."""
    if options.subscribe_permission is not None:
        yield "subscribe_permission"
    elif not options.allow_subscribe_for_client:
        yield "not allow_subscribe_for_client"
    if options.allow_user_limited_channels:
        yield "allow_user_limited_channels"
    if personal:
        yield "user_personal_channel"


def _without_effect(config: RealtimeConfig) -> Iterator[CheckMessage]:
    for path, options in config.scopes():
        for key, need in _idle(options):
            hint = f"{need}, or remove {key}."
            yield Warning(f"{path}.{key} has no effect.", hint=hint, id="flotilla_realtime.W005")


def _idle(options: ChannelOptions) -> Iterator[tuple[str, str]]:
    if options.force_push_join_leave and not options.join_leave:
        yield "force_push_join_leave", "Turn join_leave on as well"
    if not options.has_history:
        for key in ("allow_recovery", "allow_positioning"):
            if getattr(options, key):
                yield key, "Set history_size and history_ttl as well"
    if options.delta_publish and not options.allowed_delta_types:
        yield "delta_publish", 'Set allowed_delta_types to ["fossil"] as well'
