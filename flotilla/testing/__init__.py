"""Testing a project that uses Flotilla, without a Redis and without a server.

    from flotilla.testing import FlotillaTestCase

    class SayingSomething(FlotillaTestCase):
        def test_the_room_is_told(self):
            self.client.post("/rooms/lobby/", {"text": "hi"})
            self.assert_published("room:lobby", {"text": "hi"})

`docs/TESTING.md` shows the rest. The names are loaded at their first use: pytest imports this package for its plugin in
every project, and must not load Django by that.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flotilla.testing._public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module 'flotilla.testing' has no attribute {name!r}")
    try:
        return getattr(import_module("flotilla.testing._public"), name)
    except AttributeError:
        raise AttributeError(f"module 'flotilla.testing' has no attribute {name!r}") from None
