"""Django settings, all from the environment (docs/SETTINGS.md lists the variables); safe for production by default.

DEBUG is off unless `DJANGO_DEBUG` says otherwise or the demo runs (`FLOTILLA_DEMO`, which `manage.py serve --demo`
sets). What is wrong in the environment is collected in ENVIRONMENT and reported by `project.checks`.
"""

import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from flotilla.realtime.server.embedded_redis import socket_path
from flotilla.store.urls import expanded, layer_host
from project.environment import Environment
from project.kept_secrets import kept_secret
from project.logs import logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRONMENT = Environment(os.environ)

FLOTILLA_DEMO = ENVIRONMENT.flag("FLOTILLA_DEMO")
VAR_DIR = Path(ENVIRONMENT.text("FLOTILLA_VAR", str(BASE_DIR / "var")))  # what this machine keeps between starts

DEBUG = ENVIRONMENT.flag("DJANGO_DEBUG", default=FLOTILLA_DEMO)
SECRET_KEY = ENVIRONMENT.text("DJANGO_SECRET_KEY")
if not SECRET_KEY and DEBUG:
    SECRET_KEY = kept_secret(VAR_DIR / "secret_key")
SECRET_KEY_FALLBACKS = ENVIRONMENT.items("DJANGO_SECRET_KEY_FALLBACKS")  # accepted, while the key is being replaced
ALLOWED_HOSTS = ENVIRONMENT.items("DJANGO_ALLOWED_HOSTS") or [".localhost", "127.0.0.1", "[::1]"]

# The process: which instance it is, where it listens, how it ends

INSTANCE_ID = ENVIRONMENT.instance("INSTANCE_ID", default=platform.node() or "flotilla")
HOST = ENVIRONMENT.text("HOST", "127.0.0.1")
PORT = ENVIRONMENT.integer("PORT", 8000, 0, 65535)
INSTANCES = ENVIRONMENT.integer("INSTANCES", 2, 1, 256)
METRICS_HOST = ENVIRONMENT.text("METRICS_HOST", "127.0.0.1")
METRICS_PORT = ENVIRONMENT.integer("METRICS_PORT", 9400, 0, 65535)  # 0: none
METRICS_CERTIFICATES = ENVIRONMENT.items("METRICS_CERTIFICATES")  # .pem files, folders, host:port: when they end
# Connections that have sent no request yet, or are idle between two: the oldest are closed (waiting_connections)
HTTP_MAX_WAITING = ENVIRONMENT.integer("HTTP_MAX_WAITING", 10_000, 1, 10**6)
HTTP_MAX_WAITING_PER_ADDRESS = ENVIRONMENT.integer("HTTP_MAX_WAITING_PER_ADDRESS", 5000, 1, 10**6)
HTTP_MAX_BODY = ENVIRONMENT.size("HTTP_MAX_BODY", 10**7)  # bytes of a request's body
HTTP_MAX_BODY_PATHS = ENVIRONMENT.sizes_of_paths("HTTP_MAX_BODY_PATHS")  # other bounds, by how a path begins
HTTP_TIMEOUT = ENVIRONMENT.seconds("HTTP_TIMEOUT", 60, most=86_400)  # until a response begins; 0: any time
HTTP_STALLED_AFTER = ENVIRONMENT.seconds("HTTP_STALLED_AFTER", 60, most=86_400)  # less than 1 KB taken; 0: never
HTTP_KEEP_ALIVE = ENVIRONMENT.seconds("HTTP_KEEP_ALIVE", 60, most=86_400)  # idle between two requests
HTTP_LEAST_BODY_RATE = ENVIRONMENT.integer("HTTP_LEAST_BODY_RATE", 240, 0, 10**9)  # bytes a second
ROOT_PATH = ENVIRONMENT.root_path("ROOT_PATH")  # the path that the whole site lies under, as /realtime
FORCE_SCRIPT_NAME = ROOT_PATH or None
FLOTILLA = {
    "host": HOST,
    "port": PORT,
    "instances": INSTANCES,
    "root_path": ROOT_PATH,
    "var_dir": VAR_DIR,
    "http_timeout": HTTP_TIMEOUT,
}
DRAIN_GRACE = ENVIRONMENT.seconds("DRAIN_GRACE", 0, most=300)  # not ready, but still serving, for this long
DRAIN_DEADLINE = ENVIRONMENT.seconds("DRAIN_DEADLINE", 15, most=600)  # the whole of it, the grace included

# Redis, and the real-time platform on it

REDIS_URLS = ENVIRONMENT.redis("REDIS_URL", default=[f"unix://{socket_path(VAR_DIR / 'redis')}"])
REDIS_DURABLE = ENVIRONMENT.flag("REDIS_DURABLE")  # Redis loses nothing that it answered: appendfsync always
RATE_LIMIT_REDIS_URL = ENVIRONMENT.one_redis("RATE_LIMIT_REDIS_URL", default=REDIS_URLS[0])
RATE_LIMIT_TRUSTED_PROXIES = ENVIRONMENT.items("RATE_LIMIT_TRUSTED_PROXIES")  # whose X-Forwarded-For is believed
RATE_LIMITS: dict[str, Any] = {}
REALTIME_PREFIX = "flotilla"
REALTIME: dict[str, Any] = {}
REALTIME_CONFIG = ENVIRONMENT.text("REALTIME_CONFIG") or None
_FALLBACKS = ENVIRONMENT.items("REALTIME_TOKEN_SECRET_FALLBACKS")  # accepted, while the secret is being replaced
REALTIME_TOKEN_SECRET = [secret for secret in (ENVIRONMENT.text("REALTIME_TOKEN_SECRET"), *_FALLBACKS) if secret]
REALTIME_API_KEYS = ENVIRONMENT.items("REALTIME_API_KEYS")
REALTIME_ALLOWED_ORIGINS = ENVIRONMENT.items("REALTIME_ALLOWED_ORIGINS")
if FLOTILLA_DEMO:
    if find_spec("rest_framework") is None:
        raise ImproperlyConfigured("the demo's examples need more: pip install -r requirements-examples.lock")
    from project import demo  # brings the examples, which need not be where nobody tries things out

    REALTIME, RATE_LIMITS = demo.REALTIME, demo.RATE_LIMITS
    REALTIME_TOKEN_SECRET = REALTIME_TOKEN_SECRET or [kept_secret(VAR_DIR / "token_secret")]
    REALTIME_API_KEYS = REALTIME_API_KEYS or [kept_secret(VAR_DIR / "api_key")]
    DEMO_PASSWORD = kept_secret(VAR_DIR / "demo_password")[:12]  # of the people of examples/rooms
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "flotilla.realtime.engine.layer.ChannelLayer",
        "CONFIG": {"hosts": [layer_host(url) for url in expanded(REDIS_URLS)], "prefix": REALTIME_PREFIX},
    }
}

# Django

FILE_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024  # bytes of a body, or of a file in it, that are held: what is longer is on disk
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_prometheus",
    "project",
    "flotilla.realtime",
    "flotilla.presence",
    "flotilla.ratelimit",
    "flotilla.monitoring",
    "flotilla.ops",
    "examples.demo",
]
if FLOTILLA_DEMO:
    INSTALLED_APPS += ["examples.rooms", "examples.notices", "examples.board", "rest_framework"]
    LOGIN_URL = "rooms:login"
MIDDLEWARE = [
    "project.streaming.InPieces",
    "flotilla.monitoring.middleware.CountBefore",
    "django.middleware.security.SecurityMiddleware",
    "project.static.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "flotilla.ratelimit.http.middleware.RateLimitMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "flotilla.monitoring.middleware.CountAfter",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASE_GIVEN = bool(ENVIRONMENT.text("DATABASE_URL"))
DATABASES = {"default": ENVIRONMENT.database("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Several processes write: wait for each other, and let readers pass.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that vanished without a word is given up after 10 s, not after the 15 minutes of the kernel. What the
    # address says itself counts.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    } | DATABASES["default"].get("OPTIONS", {})
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "default"},
    # django-ratelimit's own counters, which decide nothing here: `flotilla.ratelimit.http.decorators` asks the limiter
    "ratelimit": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "ratelimit"},
}
RATELIMIT_USE_CACHE = "ratelimit"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
CSRF_FAILURE_VIEW = "flotilla.error_handlers.csrf_failure"
if ENVIRONMENT.flag("DJANGO_TLS_PROXY"):  # only behind a proxy that sets the header itself, whatever the client says
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = f"{ROOT_PATH}/static/"
WHITENOISE_STATIC_PREFIX = "/static/"  # below the root path
WHITENOISE_USE_FINDERS = True  # apps' static files are served from where they are; collectstatic is not needed

PROMETHEUS_EXPORT_MIGRATIONS = False

LOGGING = logging_settings(as_json=not DEBUG, instance=INSTANCE_ID)
