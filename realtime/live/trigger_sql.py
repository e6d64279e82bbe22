"""The SQL of a live model's triggers on PostgreSQL: changes that come past Django write the outbox's rows as well.

A trigger runs once for a statement and sees all its rows. It writes what an operation of ours would, but for the data,
which the relay renders: what the ORM writes behind it, in the same transaction, takes its place. Pure text.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from django.db import models
from django.db.models import Field, ForeignKey

from flotilla.realtime.live.dependents import many_of
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.patterns import Pattern
from flotilla.realtime.live.rendering import columns_of
from flotilla.realtime.live.written import TRIGGER
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.rows import MAX_TEXT, UPSERT

_OUTBOX = OutboxRow._meta.db_table
_AS_TEXT = (
    *(models.AutoField, models.BigAutoField, models.SmallAutoField, models.IntegerField, models.BigIntegerField),
    *(models.SmallIntegerField, models.PositiveIntegerField, models.PositiveBigIntegerField),
    *(models.PositiveSmallIntegerField, models.CharField, models.TextField, models.SlugField, models.EmailField),
    *(models.URLField, models.UUIDField),
)
"""Fields whose values PostgreSQL writes as Python does."""


class NoTriggers(Exception):
    """A live model that triggers cannot serve; the text says why, and what to do instead."""


class Trigger(NamedTuple):
    """A function with the triggers that call it, on one table."""

    name: str
    table: str
    body: str
    """Of the function, in PL/pgSQL."""
    events: tuple[str, ...]

    def statements(self) -> list[str]:
        """What makes it, where there is nothing of its name."""
        function = (
            f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT "
            f"AS $flotilla${self.body}$flotilla$"
        )
        return [function, *(self._on(event) for event in self.events)]

    def _on(self, event: str) -> str:
        sees = {"INSERT": "NEW TABLE AS new_rows", "DELETE": "OLD TABLE AS old_rows"}
        sees["UPDATE"] = f"{sees['DELETE']} {sees['INSERT']}"
        when, seen = ("BEFORE", "") if event == "TRUNCATE" else ("AFTER", f" REFERENCING {sees[event]}")
        name = f"{self.name}_{event.lower()}"
        calls = f"FOR EACH STATEMENT EXECUTE FUNCTION {self.name}()"
        return f"CREATE TRIGGER {name} {when} {event} ON {self.table}{seen} {calls}"


def triggers_of(live: LiveModel, most: int) -> list[Trigger]:
    """The triggers of a live model: on its own table, on those between it and others, and on those whose rows are a
    part of its data. More than `most` changes of a channel are a reload. Raises NoTriggers."""
    table = _Table(live, most)
    found = [table.own()]
    found += [table.between(field) for field in many_of(live)]
    found += list(table.related())
    return found


class _Table:
    """A live model's own table."""

    def __init__(self, live: LiveModel, most: int) -> None:
        if live.function is not None:
            raise NoTriggers(
                f"{live.label}: a function says its channels, which a database cannot call; give it patterns, or tell "
                "of such changes with live.changed()"
            )
        if live.model._meta.parents or live.model._meta.proxy:
            raise NoTriggers(
                f"{live.label}: {live.model._meta.object_name} is a part of another model; tell of such changes with "
                "live.changed()"
            )
        self._live = live
        self._most = most
        self._name = _quoted(live.model._meta.db_table)
        self._pk = _quoted(live.model._meta.pk.column)

    def own(self) -> Trigger:
        """On the table itself."""
        old, new = self._places("old_rows"), self._places("new_rows")
        same = " AND ".join(f"before.{name} IS NOT DISTINCT FROM after.{name}" for name in self._columns())
        touched = f"""(SELECT after.* FROM new_rows AS after LEFT JOIN old_rows AS before
        ON before.{self._pk} = after.{self._pk} WHERE before.{self._pk} IS NULL OR NOT ({same}))"""
        body = f"""
BEGIN
    IF TG_OP = 'INSERT' THEN
{self._write(f"SELECT channel, key, 'set' AS operation FROM ({new}) AS shown")}
    ELSIF TG_OP = 'DELETE' THEN
{self._write(f"SELECT channel, key, 'remove' AS operation FROM ({old}) AS shown")}
    ELSIF TG_OP = 'UPDATE' THEN
{
            self._write(
                f"SELECT channel, key, 'remove' AS operation FROM (({old}) EXCEPT ({new})) AS gone UNION "
                f"SELECT channel, key, 'set' AS operation FROM ({self._places(touched)}) AS shown"
            )
        }
    ELSE
{self._reload(self._places(self._name))}
    END IF;
    RETURN NULL;
END """
        return self._trigger(self._live.model._meta.db_table, body, ("INSERT", "UPDATE", "DELETE", "TRUNCATE"))

    def between(self, field: Any) -> Trigger:
        """On the table of a ManyToManyField."""
        through = field.remote_field.through._meta
        column = _quoted(through.get_field(field.m2m_field_name()).column)
        return self._by_keys(through.db_table, f"SELECT {column} FROM {{rows}}", ("INSERT", "UPDATE", "DELETE"))

    def related(self) -> Iterator[Trigger]:
        """On the tables that foreign keys of the data lead to, of which nothing but an update changes it."""
        paths = {name.rpartition("__")[0] for name in columns_of(self._live).data if "__" in name}
        many = {field.name for field in self._live.model._meta.many_to_many}
        seen: set[str] = set()
        for path in sorted(paths | {one for one in self._live.depends_on if one not in many}):
            steps = path.split("__")
            for count in range(1, len(steps) + 1):
                if (way := "__".join(steps[:count])) not in seen:
                    seen.add(way)
                    yield self._along(way.split("__"))

    def _along(self, steps: list[str]) -> Trigger:
        model: Any = self._live.model
        question, end = f"SELECT {self._pk} FROM {self._name} WHERE ", ""
        for place, step in enumerate(steps):
            field = model._meta.get_field(step)
            if not isinstance(field, ForeignKey):
                raise NoTriggers(
                    f"{self._live.label}: {step!r} in its data is no foreign key; tell with live.changed()"
                )
            model, target = field.related_model, _quoted(field.target_field.column)
            source = "{rows}" if place == len(steps) - 1 else _quoted(model._meta.db_table)
            question += f"{_quoted(field.column)} IN (SELECT {target} FROM {source}"
            question += "" if place == len(steps) - 1 else " WHERE "
            end += ")"
        return self._by_keys(model._meta.db_table, question + end, ("UPDATE",))

    def _by_keys(self, table: str, keys: str, events: tuple[str, ...]) -> Trigger:
        """On another table, whose rows say by `keys` which rows of ours they change."""

        def told(*names: str) -> str:
            asked = " UNION ".join(keys.format(rows=name) for name in names)
            rows = f"(SELECT * FROM {self._name} WHERE {self._pk} IN ({asked}))"
            return self._write(f"SELECT channel, key, 'set' AS operation FROM ({self._places(rows)}) AS shown")

        sees = {"INSERT": ("new_rows",), "DELETE": ("old_rows",), "UPDATE": ("old_rows", "new_rows")}
        branches = "\n    ELSIF ".join(f"TG_OP = '{event}' THEN\n{told(*sees[event])}" for event in events)
        body = f"""
BEGIN
    IF {branches}
    ELSE
{self._reload(self._places(self._name))}
    END IF;
    RETURN NULL;
END """
        return self._trigger(table, body, (*events, "TRUNCATE"))

    def _trigger(self, table: str, body: str, events: tuple[str, ...]) -> Trigger:
        mark = blake2b(f"{self._live.label}|{table}".encode(), digest_size=8).hexdigest()
        return Trigger(f"{TRIGGER}{mark}", _quoted(table), body, events)

    def _places(self, rows: str) -> str:
        """A question for the channels and keys of rows."""
        key = f"{_literal(self._live.key_prefix)} || {self._text(self._live.key)}"
        return " UNION ".join(
            f"SELECT {self._channel(pattern)} AS channel, {key} AS key FROM {rows} AS source"
            f" WHERE {self._there(pattern)}"
            for pattern in self._live.patterns
        )

    def _channel(self, pattern: Pattern) -> str:
        parts = [_literal(pattern.shape[0])]
        for name, literal in zip(pattern.names, pattern.shape[1:], strict=True):
            parts += [self._text(name), _literal(literal)]
        return " || ".join(parts)

    def _there(self, pattern: Pattern) -> str:
        columns = (self._live.concrete(name).column for name in pattern.names)
        return " AND ".join(f"source.{_quoted(column)} IS NOT NULL" for column in columns) or "true"

    def _text(self, name: str) -> str:
        """A column as the text that Python makes of it."""
        field = self._live.concrete(name)
        if type(_final(field)) not in _AS_TEXT:
            raise NoTriggers(
                f"{self._live.label}: PostgreSQL writes {name!r} ({type(field).__name__}) in another way than Python; "
                "use a number, a text or a UUID in the pattern and as the key"
            )
        return f"source.{_quoted(field.column)}::text"

    def _columns(self) -> list[str]:
        """The columns that say the data and where a row is shown; all of them where code or a template does."""
        live = self._live
        fields = list(live.model._meta.concrete_fields)
        if live.by_names and live.shows_all:
            named = {live.concrete(name.partition("__")[0]) for name in columns_of(live).all}
            fields = [field for field in fields if field in named]
        return [_quoted(field.column) for field in fields]

    def _write(self, changes: str) -> str:
        """Write changes, or a reload of a channel that has too many."""
        live = _literal(self._live.label)
        return f"""        WITH changes AS MATERIALIZED (SELECT * FROM ({changes}) AS every WHERE {_FITS}),
        many AS (SELECT channel FROM changes GROUP BY channel HAVING count(*) > {self._most})
        INSERT INTO {_OUTBOX} (channel, key, operation, live, body)
        SELECT channel, key, operation, {live}, NULL::bytea FROM changes WHERE channel NOT IN (SELECT channel FROM many)
        UNION ALL SELECT channel, '', 'reload', {live}, NULL::bytea FROM many
        {UPSERT};"""

    def _reload(self, places: str) -> str:
        return f"""        INSERT INTO {_OUTBOX} (channel, key, operation, live, body)
        SELECT DISTINCT channel, '', 'reload', {_literal(self._live.label)}, NULL::bytea
        FROM ({places}) AS shown WHERE {_FITS}
        {UPSERT};"""


_FITS = f"length(channel) <= {MAX_TEXT} AND length(key) BETWEEN 1 AND {MAX_TEXT}"
"""What the outbox has columns for: a row that cannot be shown is changed all the same."""


def _final(field: "Field[Any, Any]") -> "Field[Any, Any]":
    return _final(field.target_field) if isinstance(field, ForeignKey) else field


def _quoted(name: str | None) -> str:
    assert name is not None
    return name if name.startswith('"') else '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
