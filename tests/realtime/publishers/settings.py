"""Settings of processes that publish and serve nobody: two databases, and the Redis of the test."""

import os

from tests.settings import *  # noqa: F403

REDIS_URLS = [os.environ["PUBLISHERS_REDIS"]]
REALTIME = {
    "publish_within": 60,  # seconds: on a busy machine the first connection takes its time
    "without_namespace": {"history_size": 100, "history_ttl": "600s"},
}
REALTIME_CONFIG = None
ROOT_URLCONF = "tests.realtime.publishers.places"
MIDDLEWARE: list[str] = []
DATABASES = {name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for name in ("default", "other")}
