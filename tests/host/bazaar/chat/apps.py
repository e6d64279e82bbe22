from django.apps import AppConfig


class Chat(AppConfig):
    name = "chat"
