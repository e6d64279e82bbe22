"""What needs an extra of the distribution says so in one sentence, and how to install it. Imports nothing of ours.

The platform runs without the extras on any ASGI server. A module whose whole matter is an extra's turns the failed
import into `MissingExtra`; a command that would start such a module elsewhere asks `require` before.
"""

from importlib.util import find_spec


class MissingExtra(ImportError):
    """What cannot be used because `missing`, a package of `extra`, is not installed."""

    def __init__(self, what: str, extra: str, missing: str) -> None:
        super().__init__(
            f'{what} needs {missing}, which is not installed: pip install "django-flotilla[{extra}]"', name=missing
        )


def require(what: str, extra: str, *modules: str) -> None:
    """Raises MissingExtra unless each of these top-level modules is installed; none of them is imported."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(what, extra, module)
