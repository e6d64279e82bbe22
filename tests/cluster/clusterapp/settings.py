"""The project's own settings, with one more app; the real-time configuration comes from REALTIME_CONFIG."""

import os

from clusterapp.clock import set_wrong
from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as PROJECT_APPS

set_wrong()
INSTALLED_APPS = [*PROJECT_APPS, "clusterapp"]
ROOT_URLCONF = "clusterapp.urls"
RATE_LIMIT_JOURNAL = os.environ.get("RATE_LIMIT_JOURNAL", "")
