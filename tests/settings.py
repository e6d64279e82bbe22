"""The project's settings with an environment of its own: no variable of the machine counts, nothing is left behind.

Everything a run keeps is in one temporary directory; its Redis is the one that `redis_server` starts there.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="flotilla-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

ENVIRONMENT_OF_TESTS = {
    "DJANGO_SECRET_KEY": "the secret key of the tests, which is long enough",
    "FLOTILLA_VAR": str(HOME / "var"),
    "INSTANCE_ID": "test",
    "METRICS_PORT": "0",
    "REALTIME_API_KEYS": "the API key of the tests",
    "REALTIME_TOKEN_SECRET": "the token secret of the tests, which is long enough",
    "REDIS_URL": f"unix://{HOME}/redis.sock",
}
if os.environ.get("FLOTILLA_TEST_ENGINE") == "cluster":  # names live where they do in any cluster of as many shards
    ENVIRONMENT_OF_TESTS["REDIS_URL"] = "redis+cluster://127.0.0.1:1"
os.environ.update(ENVIRONMENT_OF_TESTS)
for name in ("DATABASE_URL", "DJANGO_ALLOWED_HOSTS", "DJANGO_DEBUG", "FLOTILLA_DEMO", "HOST", "INSTANCES", "PORT"):
    os.environ.pop(name, None)
for name in (
    "DRAIN_DEADLINE",
    "DRAIN_GRACE",
    "METRICS_HOST",
    "RATE_LIMIT_REDIS_URL",
    "RATE_LIMIT_TRUSTED_PROXIES",
    "REALTIME_CONFIG",
):
    os.environ.pop(name, None)
os.environ.pop("REALTIME_ALLOWED_ORIGINS", None)

(HOME / "var").mkdir()

from project.settings import *  # noqa: E402, F403

INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405
    "examples.rooms",
    "examples.notices",
    "examples.board",
    "rest_framework",
    "rest_framework.authtoken",
    "tests.realtime.live.desk",
]
FLOTILLA = {**FLOTILLA, "relay": False}  # noqa: F405  tests of the relay start their own
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # passwords of the tests are no secrets: be quick
