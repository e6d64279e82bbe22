"""The least that Django needs for the tests of store and realtime; addresses are set per test."""

SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "realtime",
    "presence",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
REDIS_URLS = ["unix:///nowhere/redis.sock"]
REALTIME_PREFIX = "flotilla"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "realtime.engine.layer.ChannelLayer",
        "CONFIG": {"hosts": REDIS_URLS, "prefix": REALTIME_PREFIX},
    }
}
INSTANCE_ID = "test-0"
REALTIME: dict[str, object] = {}
ROOT_URLCONF = "tests.settings_minimal"
urlpatterns: list[object] = []
