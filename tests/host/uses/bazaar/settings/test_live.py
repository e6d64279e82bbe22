"""As the tests of before, with the engine in the process in place of a Redis."""

from bazaar.settings.test import *  # noqa: F403

FLOTILLA = FLOTILLA | {"redis_url": "memory://"}  # noqa: F405
