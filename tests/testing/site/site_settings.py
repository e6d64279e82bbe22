"""A project that has nothing but Django and Flotilla, and no Redis."""

import os

import flotilla

SECRET_KEY = "the secret key of a project that is tested, which is long enough"
DEBUG = os.environ.get("SITE_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    *flotilla.apps(),
    "rooms",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SITE_DATABASE", ":memory:")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "rooms.urls"
ASGI_APPLICATION = "site_asgi.application"
USE_TZ = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
FLOTILLA = {
    "token_secret": "the token secret of a project that is tested, long enough",
    "anonymous": True,
    "namespaces": {
        "room": {
            "history_size": 20,
            "history_ttl": "10m",
            "force_recovery": True,
            "presence": True,
            "join_leave": True,
            "force_push_join_leave": True,
            "subscribe_permission": "rooms.rules.is_member",
            "allow_publish_for_subscriber": True,
            "allow_history_for_subscriber": True,
            "allow_presence_for_subscriber": True,
        },
        "news": {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True},
    },
}
