import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bazaar.settings.dev")

app = Celery("bazaar")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
