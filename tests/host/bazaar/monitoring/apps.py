from django.apps import AppConfig


class Monitoring(AppConfig):
    name = "monitoring"
