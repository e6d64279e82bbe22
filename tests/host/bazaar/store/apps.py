from django.apps import AppConfig


class Store(AppConfig):
    name = "store"
