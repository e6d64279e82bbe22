"""Settings of processes that publish and serve nobody: two databases, and the Redis of the test."""

import os

from tests.settings import *  # noqa: F403

REDIS_URLS = [os.environ["PUBLISHERS_REDIS"]]
REALTIME = {"without_namespace": {"history_size": 100, "history_ttl": "60s"}}
REALTIME_CONFIG = None
ROOT_URLCONF = "tests.realtime.publishers.places"
MIDDLEWARE: list[str] = []
DATABASES = {name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for name in ("default", "other")}
