"""Settings of the tutorial's chat; `STOCK_LAYER` (core or pubsub) and `REDIS_URL` come from the environment."""

import os

SECRET_KEY = "a secret of the bench"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["channels", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MIDDLEWARE = [  # those of `startproject`
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "tests.bench.pages.urls"
ASGI_APPLICATION = "tests.bench.stock.asgi.application"
REDIS_URL = os.environ["REDIS_URL"]
_LAYERS = {"core": "channels_redis.core.RedisChannelLayer", "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer"}
CHANNEL_LAYERS = {"default": {"BACKEND": _LAYERS[os.environ["STOCK_LAYER"]], "CONFIG": {"hosts": [REDIS_URL]}}}
