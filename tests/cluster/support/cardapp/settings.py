"""The project's own settings, with one more app; the real-time configuration comes from REALTIME_CONFIG."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as PROJECT_APPS

INSTALLED_APPS = [*PROJECT_APPS, "tests.cluster.support.cardapp"]
