"""Reads a mapping or a JSON/TOML file against a msgspec struct, and says exactly what is wrong with it.

Owns parsing, types, unknown keys, and merging of several sources; knows no option by name (each app's `conf.py`
holds its schema). All faults are collected, never only the first. Every Problem names the key's path, what was
expected, the source, and how to mend it. Only a value of the right type but out of its range is repeated: never text,
so no secret.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from django.core.exceptions import ImproperlyConfigured

from flotilla.problems import Problem, unknown_key

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DOTTED_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_INNER_PATH = re.compile(r" - at `\$(?P<inner>.*)`$")
_MENDS = {
    "duration": 'Write seconds as a number, or a duration such as "90s", "5m", "720h".',
    "callable": 'Write its dotted path, as "app.permissions.may_subscribe".',
}
_TEN_YEARS = 10 * 365 * 86400

DURATION = msgspec.Meta(ge=0, le=_TEN_YEARS, extra={"kind": "duration"})
POSITIVE_DURATION = msgspec.Meta(gt=0, le=_TEN_YEARS, extra={"kind": "duration"})
CALLABLE = msgspec.Meta(extra={"kind": "callable"})

Seconds = Annotated[float, DURATION]
PositiveSeconds = Annotated[float, POSITIVE_DURATION]


class ConfigProblems(ImproperlyConfigured):
    """The configuration cannot be used; `problems` has every fault."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class Level(dict[str, Any]):
    """A level of the configuration whose keys are merged one by one; a plain dict is a value, replaced as a whole."""


@dataclass(slots=True)
class Reader:
    """Collects sources, a later one overriding an earlier one option by option. `values` is the merged tree."""

    schema: type[msgspec.Struct]
    values: Level = field(default_factory=Level)
    problems: list[Problem] = field(default_factory=list)
    _sources: dict[str, str] = field(default_factory=dict)

    def add(self, raw: object, where: str) -> None:
        """Read one source; faults go to `problems`, what is right is merged."""
        _merge(self.values, self._struct(self.schema, raw, "", where))

    def add_file(self, path: Path) -> None:
        """Read a `.toml` file as TOML, any other as JSON."""
        try:
            self.add(_load(path), str(path))
        except (OSError, ValueError, RecursionError) as error:
            message = f"expected a readable {'TOML' if path.suffix == '.toml' else 'JSON'} file: {error}"
            hint = "Correct the file, or the path in REALTIME_CONFIG."
            self.problems.append(Problem("REALTIME_CONFIG", message, hint, str(path)))

    def where(self, *paths: str) -> str:
        """The sources these paths were last set in, for a fault that concerns several of them."""
        return " and ".join(dict.fromkeys(self._sources[path] for path in paths if path in self._sources))

    def _struct(self, schema: type[msgspec.Struct], raw: object, path: str, where: str) -> Level:
        hints = get_type_hints(schema, include_extras=True)
        level = Level()
        for key, value in self._items(raw, path, where):
            if key not in hints:
                self.problems.append(unknown_key(key, _join(path, key), where, sorted(hints)))
            else:
                self._read(level, key, hints[key], value, _join(path, key), where)
        return level

    def _mapping(self, hint: Any, raw: object, path: str, where: str) -> Level:
        level = Level()
        for key, value in self._items(raw, path, where):
            self._read(level, key, get_args(hint)[1], value, f"{path}.{key}", where)
        return level

    def _read(self, level: Level, key: str, hint: Any, value: object, path: str, where: str) -> None:
        """Put the value of one key into the level, if it is right."""
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            level[key] = self._struct(hint, value, path, where)
        elif get_origin(hint) is dict:
            level[key] = self._mapping(hint, value, path, where)
        else:
            try:
                level[key] = convert(hint, value)
            except msgspec.ValidationError as error:
                self._wrong(error, hint, value, path, where)
        self._sources[path] = where

    def _items(self, raw: object, path: str, where: str) -> list[tuple[str, object]]:
        if not isinstance(raw, Mapping):
            hint = 'Write {"key": value, …}, or leave it out.'
            self.problems.append(Problem(path or "(top)", f"expected a mapping, got {_shown(raw)}", hint, where))
            return []
        for key in raw:
            if not isinstance(key, str):
                hint = "Write the key in quotes."
                self.problems.append(Problem(path or "(top)", f"expected string keys, got {_shown(key)}", hint, where))
        return [(key, value) for key, value in raw.items() if isinstance(key, str)]

    def _wrong(self, error: Exception, hint: Any, value: object, path: str, where: str) -> None:
        text = str(error)
        if inner := _INNER_PATH.search(text):
            text, path = text[: inner.start()], path + inner["inner"]
        text = text.replace("Expected", "expected", 1)
        if "got" not in text:
            text += f", got {_shown(value)}"
        mend = _MENDS.get(_kind(hint), "Correct the value, or leave the key out for its default.")
        self.problems.append(Problem(path, text, mend, where))


def convert(hint: Any, value: object) -> Any:
    """The value as the type of `hint`, strictly. Raises msgspec.ValidationError."""
    if _kind(hint) == "callable":
        return _callable(value)
    if _kind(hint) == "duration" and isinstance(value, str):
        value = parse_duration(value)
    try:
        return msgspec.convert(str(value) if isinstance(value, PurePath) else value, hint)
    except AttributeError:  # msgspec asks some objects for `keys`
        raise msgspec.ValidationError(f"Expected another type, got `{type(value).__name__}`") from None


def parse_duration(text: str) -> float:
    """Seconds of "90s", "5m", "1h30m", "250ms". Raises msgspec.ValidationError."""
    if not _DURATION.fullmatch(text):
        raise msgspec.ValidationError("Expected a duration")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def _callable(value: object) -> str | Callable[..., Any] | None:
    if value is None or callable(value):
        return value
    if isinstance(value, str) and _DOTTED_PATH.fullmatch(value):
        return value
    raise msgspec.ValidationError('Expected a callable or its dotted path "package.module.name"')


def _load(path: Path) -> object:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".toml":
        return tomllib.loads(text)
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key appear twice and keeps the last: here the first would vanish without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _merge(into: Level, new: Level) -> None:
    for key, value in new.items():
        if isinstance(value, Level) and isinstance(into.get(key), Level):
            _merge(into[key], value)
        else:
            into[key] = value


def _kind(hint: Any) -> str:
    for meta in get_args(hint)[1:]:
        if isinstance(meta, msgspec.Meta) and meta.extra:
            return str(meta.extra.get("kind", ""))
    return ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
