"""The reference of every setting, made from the structs that the platform itself reads its settings with.

A field says what it means in the sentence below it (its docstring); one without a sentence ends the build. Types,
bounds and defaults are those of the field, former names those of its part (`flotilla.conf.Part`). Needs Django.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import FieldInfo, fields

from flotilla.conf import Part, parts

TITLES = {
    "StoreConfig": "Redis, and names",
    "RealtimeConfig": "Clients and channels",
    "ChannelOptions": "Options of a namespace",
    "Webhook": "A webhook",
    "LimitsConfig": "Rate limits",
    "ServerConfig": "The process",
}
_HOURS, _DAYS = 3600, 86400


class MissingSentence(Exception):
    """A field that nobody explained."""


def reference() -> str:
    """All parts as Markdown, a table each, in the order in which people meet them.

    A key that several parts read stands in the last of them.
    """
    order = list(TITLES)
    ranked = sorted(parts(), key=lambda part: order.index(_name(part)) if _name(part) in order else len(order))
    owners = {key: part for part in ranked for key in part.keys}
    return "\n".join(section for part in ranked for section in _sections(part, owners))


def sentences(schema: type[msgspec.Struct]) -> dict[str, str]:
    """Each field's sentence: the string below it. Raises MissingSentence with all fields that have none."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(schema))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = str(following.value.value)
            found[statement.target.id] = " ".join(text.split())
    missing = [field.name for field in fields(schema) if not found.get(field.name)]
    if missing:
        raise MissingSentence(f"{schema.__qualname__} does not say what these mean: {', '.join(missing)}")
    return found


def kind(hint: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(arguments[0], [one for one in arguments[1:] if isinstance(one, msgspec.Meta)])
    if origin in (Union, UnionType):
        words = [kind(one) for one in arguments if one is not NoneType]
        return " or ".join(dict.fromkeys([*words, *(["none"] if NoneType in arguments else [])]))
    if origin is Literal:
        return " or ".join(f"`{_written(one)}`" for one in arguments)
    if origin is dict:
        return "dictionary by name" if _struct(arguments[1]) else "dictionary"
    if origin in (tuple, list):
        if len(arguments) == 2 and arguments[1] is not ...:
            return f"pair of {kind(arguments[0])} and {kind(arguments[1])}"
        return f"list of {kind(arguments[0]) if get_origin(arguments[0]) is Literal else _plural(kind(arguments[0]))}"
    if _struct(hint):
        return "dictionary of options"
    return {bool: "true or false", str: "text", int: "whole number", float: "number"}.get(hint, "any")


def default(field: FieldInfo) -> str:
    """A default as it would be written."""
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value in (None, "", (), {}) or isinstance(value, msgspec.Struct):
        return "none" if not isinstance(value, msgspec.Struct) else "everything off"
    if isinstance(value, bool):
        return "true" if value else "false"
    if _is_duration(field.type):
        return _duration(value)
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"`{_written(value)}`"


def _sections(part: Part[Any], owners: Mapping[str, Part[Any]]) -> Iterator[str]:
    schema = part.schema
    yield _table(schema, {key: _former(part, key) for key in part.keys if owners[key] is part})
    for hint in get_type_hints(schema, include_extras=True).values():
        inner = get_args(hint)[1] if get_origin(hint) is dict else None
        if inner is not None and _struct(inner):
            yield _table(inner, dict.fromkeys(get_type_hints(inner), ""))


def _table(schema: type[msgspec.Struct], former: Mapping[str, str]) -> str:
    """A schema's fields that are in `former`, each with its former name, if it has one."""
    said = sentences(schema)
    rows = []
    for field in fields(schema):
        if field.name in former:
            before = f" Formerly `{former[field.name]}`." if former[field.name] else ""
            meaning = _full_stop(said[field.name]).replace("|", "\\|") + before
            rows.append(f"| `{field.encode_name}` | {kind(field.type)} | {default(field)} | {meaning} |")
    title = TITLES.get(schema.__name__, schema.__name__)
    intro = inspect.cleandoc(schema.__doc__ or "")
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", intro, "", *head, *rows, ""])


def _former(part: Part[Any], key: str) -> str:
    names = (part.former.get(key), f"REALTIME_{key.upper()}", key.upper())
    return next((name for name in names if name and name in part.settings), "")


def _annotated(hint: Any, metas: list[msgspec.Meta]) -> str:
    extra = {key: value for meta in metas for key, value in (meta.extra or {}).items()}
    if extra.get("kind") == "callable":
        return "function, or its dotted path"
    positive = any(meta.gt == 0 for meta in metas)
    if extra.get("kind") == "duration":
        return "time above 0" if positive else "time"
    least = next((meta.ge for meta in metas if meta.ge is not None), None)
    most = next((meta.le for meta in metas if meta.le is not None), None)
    words = kind(hint)
    if least is not None:
        words += f" from {least:,}"
    if most is not None and most < 2**31 - 1:
        words += f" to {most:,}"
    return words


def _duration(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds % _DAYS == 0:
        return f"{seconds / _DAYS:g} d"
    return f"{seconds / _HOURS:g} h" if seconds % _HOURS == 0 else f"{seconds:g} s"


def _is_duration(hint: Any) -> bool:
    return get_origin(hint) is Annotated and any(
        isinstance(one, msgspec.Meta) and (one.extra or {}).get("kind") == "duration" for one in get_args(hint)[1:]
    )


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _plural(words: str) -> str:
    first, _, rest = words.partition(" ")
    return f"{first}s {rest}".strip()


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _name(part: Part[Any]) -> str:
    return part.schema.__name__
