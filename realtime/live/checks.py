"""System checks of live models: each fault by name, with its mend."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.db.models import ForeignKey

from flotilla.config_reader import ConfigProblems
from flotilla.realtime.conf import RealtimeConfig, get_config, provided_namespace
from flotilla.realtime.live.faults import name_faults
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.patterns import Pattern, PatternFault
from flotilla.realtime.live.queryset import is_live
from flotilla.realtime.live.registry import all_live

_IN_THE_DATABASE = ("DB_CASCADE", "DB_SET_NULL", "DB_SET_DEFAULT")  # of Django 6.1: nobody is told


@register("realtime")
def check_live(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Everything that can be said of the live models without a database."""
    try:
        config = get_config()
    except ConfigProblems:
        return []  # which `check_realtime` says
    known = all_live()
    found = [message for live in known for message in _of(live, config)]
    return found + list(_in_one_channel(known))


def _of(live: LiveModel, config: RealtimeConfig) -> Iterator[CheckMessage]:
    if hasattr(live.model._meta, "pk_fields") and len(live.model._meta.pk_fields) > 1:
        hint = "Give the model a primary key of one field."
        yield Error(f"{live.label}: a row with a key of several fields cannot be shown.", hint=hint, id=_id("E070"))
        return
    yield from _data(live)
    yield from _names(live)
    yield from _channels(live, config)
    yield from _unseen(live)


def _data(live: LiveModel) -> Iterator[CheckMessage]:
    given = [name for name, has in (("fields", live.uses_fields), ("serializer", live.serializer is not None)) if has]
    given += ["data()"] if live.gives_data else []
    if len(given) != 1:
        said = "no data of a row is said" if not given else f"the data is said twice ({' and '.join(given)})"
        hint = 'Give it one of fields = ("id", …), serializer = …, or a method data(row).'
        yield Error(f"{live.label}: {said}.", hint=hint, id=_id("E071"))


def _names(live: LiveModel) -> Iterator[CheckMessage]:
    for fault in name_faults(live):
        yield Error(f"{live.label}: {fault.text}.", hint=fault.mend, id=_id("E072"))


def _channels(live: LiveModel, config: RealtimeConfig) -> Iterator[CheckMessage]:
    if live.function is not None and not live.gives_rows:
        message = f"{live.label}: a function says the channels of a row, but nothing says the rows of a channel."
        hint = "Write the method rows(self, channel): a queryset, or None for a channel that shows none of them."
        yield Error(message, hint=hint, id=_id("E073"))
    for pattern in live.patterns:
        try:
            name = pattern.namespace
        except PatternFault as fault:
            yield Error(f"{live.label}: {fault}.", hint="Begin it with the namespace's name.", id=_id("E074"))
            continue
        yield from _namespace(live, pattern, name, config)


def _namespace(live: LiveModel, pattern: Pattern, name: str | None, config: RealtimeConfig) -> Iterator[CheckMessage]:
    options = config.without_namespace
    if name is not None:
        known = config.namespaces.get(name) or provided_namespace(name)
        if known is None:
            hint = f'Add it to FLOTILLA["namespaces"]: "{name}": {{"history_size": 100, "history_ttl": "1h", '
            hint += '"force_recovery": True, …}.'
            message = f"{live.label}: {pattern.text!r} is in the namespace {name!r}, which is not configured."
            yield Error(message, hint=hint, id=_id("E075"))
            return
        options = known
    recovers = options.force_recovery or options.allow_recovery
    if not (options.has_history and recovers):
        message = f"{live.label}: {pattern.text!r} is shown where nobody recovers what was missed."
        hint = f"Set history_size, history_ttl and force_recovery of {_where(name)}."
        yield Error(message, hint=hint, id=_id("E076"))
    if options.allow_publish_for_client or options.allow_publish_for_subscriber:
        hint = f"Take allow_publish_for_client and allow_publish_for_subscriber out of {_where(name)}; let clients "
        hint += "publish what is theirs in another namespace, or change rows by a request."
        message = f"{live.label}: clients may publish to {pattern.text!r}, and so show others rows that are none."
        yield Warning(message, hint=hint, id=_id("W072"))
    if options.publication_data_format == "binary":
        hint = 'Use a namespace whose publication_data_format is "json".'
        yield Error(f"{live.label}: {pattern.text!r} is a channel of bytes.", hint=hint, id=_id("E077"))


def _where(name: str | None) -> str:
    return "without_namespace" if name is None else f"namespaces.{name}"


def _unseen(live: LiveModel) -> Iterator[CheckMessage]:
    manager = live.model._default_manager
    if not is_live(manager):
        name = live.model._meta.object_name
        message = (
            f"{live.label}: {name}'s manager is no LiveManager: update(), bulk_create() and the like are not seen."
        )
        hint = (
            f"Write `objects = LiveManager()` in {name}, or let its queryset inherit from LiveQuerySet; else tell of "
        )
        hint += "such changes with live.changed()."
        yield Warning(message, hint=hint, id=_id("W070"))
    for field in live.model._meta.concrete_fields:
        if isinstance(field, ForeignKey) and _in_database(field):
            message = (
                f"{live.label}: {field.name} is changed by the database when its row is deleted, which is not seen."
            )
            hint = "Use an on_delete of Django's, or make triggers: `manage.py live_triggers`."
            yield Warning(message, hint=hint, id=_id("W071"))


def _in_database(field: "ForeignKey[Any, Any]") -> bool:
    from django.db import models

    return any(field.remote_field.on_delete is getattr(models, name, object()) for name in _IN_THE_DATABASE)


def _in_one_channel(known: Sequence[LiveModel]) -> Iterator[CheckMessage]:
    for one, other in combinations(known, 2):
        shapes = {pattern.shape for pattern in one.patterns} & {pattern.shape for pattern in other.patterns}
        if shapes and one.key_prefix == other.key_prefix:
            message = f"{one.label} and {other.label} may show rows in one channel, where their keys would be the same."
            hint = f'Tell them apart: key_prefix = "{type(other).__name__.lower()}-" in one of them, or other patterns.'
            yield Error(message, hint=hint, id=_id("E078"))


def _id(number: str) -> str:
    return f"flotilla_realtime.{number}"
