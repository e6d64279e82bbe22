from bazaar.settings.base import *  # noqa: F403

DEBUG = True
SECRET_KEY = "only on a developer's machine, where it keeps nothing secret from anybody"
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
