"""What this process runs: its settings, and the versions of Python and all packages, so that two starts are compared.

Values of settings may be secrets, or hold some (an address of Redis). Numbers and switches are kept as they are; of
everything else only a digest is kept, made with the project's SECRET_KEY, so that it can be compared and not guessed.
"""

import hmac
import platform
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import distributions
from typing import Any

import msgspec
from django.conf import settings

from flotilla.conf import parts
from flotilla.config_reader import ConfigProblems

OWN = {"instance_id", "metrics_port", "host", "port", "root_path", "instances"}  # differ among instances that are alike


def of_this_process() -> dict[str, str]:
    """Each setting by its path, and each package, with its value or digest. Reads files: not for an event loop."""
    found = {"python": platform.python_version()}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(f"package {name.lower()}", distribution.version)
    for part in parts():
        try:
            values = msgspec.to_builtins(part(), enc_hook=_name_of, str_keys=True)
        except ConfigProblems:  # then it is not in use
            continue
        found.update((f"setting {path}", _value(value)) for path, value in _flat("", values))
    return found


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if path or key not in OWN:
                yield from _flat(f"{path}.{key}" if path else str(key), inner)
    else:
        yield path, value


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    digest = hmac.new(settings.SECRET_KEY.encode(), repr(value).encode(), sha256).hexdigest()
    return f"#{digest[:16]}"


def _name_of(value: Any) -> str:
    """A callable or another object of a project, by its name."""
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", type(value).__qualname__)
    return f"{module}.{name}"
