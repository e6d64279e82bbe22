"""The project's own settings, with one more app; the real-time configuration comes from REALTIME_CONFIG."""

import os

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as PROJECT_APPS
from tests.cluster.support.clusterapp.clock import set_wrong

set_wrong()
INSTALLED_APPS = [*PROJECT_APPS, "tests.cluster.support.clusterapp"]
ROOT_URLCONF = "tests.cluster.support.clusterapp.urls"
RATE_LIMIT_JOURNAL = os.environ.get("RATE_LIMIT_JOURNAL", "")
if os.environ.get("FLOTILLA_TEST_ROUTED"):
    ASGI_APPLICATION = "tests.cluster.support.routed.application"
