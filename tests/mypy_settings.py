"""The project's settings for mypy's Django plugin, with the examples, whose models it would not know otherwise."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as PROJECT_APPS

INSTALLED_APPS = [*PROJECT_APPS, "examples.rooms", "examples.notices", "examples.board"]
