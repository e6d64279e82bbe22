"""What a project says about the platform: the one dictionary `FLOTILLA` of its settings.

    FLOTILLA = {"redis_url": "redis://localhost:6379/0", "namespaces": {"chat": {"history_size": 100}}}

Each app declares its part of the dictionary in its `conf.py`: a msgspec struct of keys, types and defaults. A key may
have a former name, a setting of its own as `METRICS_PORT`, which goes on working; what stands in FLOTILLA wins. A part
with any fault is refused as a whole, and the system checks name every fault with its mend.

Imports nothing of ours but what says what is wrong with a setting: every layer may use it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from django.conf import settings
from django.core.signals import setting_changed

from flotilla.config_reader import ConfigProblems, Reader
from flotilla.problems import Problem, unknown_key

NAME = "FLOTILLA"
SOURCE = f"settings.{NAME}"
_PROCESS = "this process"

S = TypeVar("S", bound=msgspec.Struct)
_parts: list["Part[Any]"] = []
_of_this_process: dict[str, Any] = {}


class Part(Generic[S]):
    """One app's keys of FLOTILLA. Called, it returns them, read once.

    `former` names the settings that were used for a key before: `{"prefix": "REALTIME_PREFIX"}`. `sources` adds what
    such names cannot say, from the settings in `also`; a key in `unsaid` that is empty or None is as if left out;
    `build` makes the struct of the values read, and adds to the reader's problems what only shows when they are seen
    together.
    """

    def __init__(
        self,
        schema: type[S],
        former: Mapping[str, str] | None = None,
        *,
        also: Collection[str] = (),
        unsaid: Collection[str] = (),
        sources: Callable[[Reader], None] | None = None,
        build: Callable[[Reader], S] | None = None,
    ) -> None:
        self.schema = schema
        self.former = dict(former or {})
        self.settings = {NAME, *self.former.values(), *also}
        self._sources = sources
        self._unsaid = unsaid
        self._build = build
        self._value: S | None = None
        _parts.append(self)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of FLOTILLA that this part reads."""
        return tuple(get_type_hints(self.schema))

    def __call__(self) -> S:
        """The values. Raises ConfigProblems (an ImproperlyConfigured) with every fault found."""
        value = self._value  # once: another thread may reset it
        if value is None:
            value = self._value = self.read()
        return value

    def read(self) -> S:
        """Read and check all sources now. Raises ConfigProblems."""
        reader = Reader(self.schema)
        for key, name in self.former.items():
            if (value := getattr(settings, name, None)) is not None:
                reader.add({key: value}, f"settings.{name}")
        if self._sources is not None:
            self._sources(reader)
        for given, where in ((_given(), SOURCE), (_of_this_process, _PROCESS)):
            said = {key: given[key] for key in self.keys if key in given}
            reader.add({key: value for key, value in said.items() if value or key not in self._unsaid}, where)
        made = self.schema(**reader.values) if self._build is None else self._build(reader)
        if reader.problems:
            raise ConfigProblems(reader.problems)
        return made

    def reset(self) -> None:
        """Forget what was read: the next call reads again."""
        self._value = None


def _given() -> Mapping[str, Any]:
    given = getattr(settings, NAME, None)
    return given if isinstance(given, Mapping) else {}


def set_for_this_process(**values: Any) -> None:
    """Let keys have other values in this process, whatever the settings say: its name, and where it listens."""
    _of_this_process.update(values)
    reset()


def reset() -> None:
    """Forget what was read of the settings."""
    for part in _parts:
        part.reset()


def parts() -> tuple[Part[Any], ...]:
    """Every part that an installed app has declared."""
    return tuple(_parts)


def problems() -> Iterator[Problem]:
    """Everything that is wrong with the settings, of all parts; a key that no part knows as well."""
    given = getattr(settings, NAME, None)
    if given is not None and not isinstance(given, Mapping):
        yield Problem(NAME, f"expected a dictionary, got {type(given).__name__}", 'Write FLOTILLA = {"key": value, …}.')
    known = sorted({key for part in _parts for key in part.keys})
    for key in _given():
        if key not in known:
            yield unknown_key(str(key), str(key), SOURCE, known)
    for part in _parts:
        try:
            part.read()
        except ConfigProblems as error:
            yield from error.problems


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    """`override_settings` and its like."""
    for part in _parts:
        if setting in part.settings:
            part.reset()


setting_changed.connect(_on_setting_changed, dispatch_uid="flotilla.conf")
