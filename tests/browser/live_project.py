"""A project with one live model and pages of it, in a folder of its own: what the tests of `{% live %}` look at.

Its pages write what they are told (`/do/`), so that one page's change is another's, in another process's transaction.
"""

from pathlib import Path

from tests.tiny_projects.tiny import TinyProject

SETTINGS = """
ASGI_APPLICATION = "asgi.application"
INSTALLED_APPS += ["board"]
MIDDLEWARE.insert(0, "django.middleware.security.SecurityMiddleware")
DATABASES["default"]["OPTIONS"] = {
    "timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL",
}
_OPEN = {"history_size": 50, "history_ttl": "10m", "force_recovery": True}
FLOTILLA |= {
    "anonymous": True, "rate_limits": {}, "allowed_origins": ["*"],
    "namespaces": {
        "board": {**_OPEN, "allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True},
        "staff": {**_OPEN, "subscribe_permission": "board.live.is_staff"},
    },
}
"""
MODELS = """
from django.db import models
from flotilla import LiveManager

class Ticket(models.Model):
    board = models.IntegerField()
    title = models.CharField(max_length=200)
    place = models.IntegerField(default=0)
    done = models.BooleanField(default=False)
    secret = models.CharField(max_length=200, default="", blank=True)
    objects = LiveManager()
"""
LIVE = """
from flotilla import LiveModel, live
from board.models import Ticket

@live("board:{board}", "staff:{board}")
class TicketLive(LiveModel):
    model = Ticket
    fields = ("id", "title")
    templates = ("board/row.html",)
    order = ("place", "-title")

def is_staff(user, channel, info):
    return getattr(user, "is_staff", False)
"""
VIEWS = """
import json
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import render
from board.models import Ticket

def page(request, name, channel):
    return render(request, f"board/{name}.html", {"channel": channel})

def enter(request, name):
    user, _ = User.objects.get_or_create(username=name, is_staff=name == "boss")
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    return JsonResponse({})

def do(request):
    with transaction.atomic():
        for what, pk, values in json.loads(request.body):
            if what == "save":
                Ticket.objects.update_or_create(pk=pk, defaults=values)
            elif what == "update":
                Ticket.objects.filter(board=pk).update(**values)
            else:
                Ticket.objects.filter(pk=pk).delete()
    return JsonResponse({})
"""
URLS = """
from django.contrib.staticfiles.views import serve
from django.http import HttpResponse
from django.urls import include, path
from board import views

urlpatterns = [
    path("up/", lambda request: HttpResponse("up")),
    path("static/<path:path>", serve, {"insecure": True}),
    path("do/", views.do),
    path("enter/<name>/", views.enter),
    path("<name>/<channel>/", views.page),
    path("", include("flotilla.urls")),
]
"""
ASGI = """
import flotilla
application = flotilla.asgi()
"""
HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Board</title><link rel="icon" href="data:,">
{% load flotilla static %}{% live_script %}</head><body>"""
TEMPLATES = {
    "list": HEAD + '{% live channel template="board/row.html" tag="ul" class="rows" id="rows" %}',
    "table": HEAD
    + '{% live channel template="board/cells.html" as rows %}<table><tbody id="rows" {{ rows.attributes }}>'
    "{{ rows.html }}</tbody></table>",
    "two": HEAD + '{% live channel template="board/row.html" tag="ul" id="rows" %}'
    '{% live channel template="board/mine.html" tag="ul" id="mine" %}',
    "row": """
<li class="{% if ticket.done %}done{% endif %}"><b>{{ ticket.title }}</b>
<input type="checkbox" {% if ticket.done %}checked{% endif %}>
<input class="note"> <button hx-get="/up/" hx-target="next i">up?</button><i></i></li>""",
    "cells": "<tr><td>{{ row.title }}</td><td>{{ user.username|default:'nobody' }}</td></tr>",
    "mine": "{% if not ticket.done or user.is_staff %}"
    "<li>{{ ticket.title }} for {{ user.username|default:'nobody' }}</li>{% endif %}",
}


def live_project(home: Path, redis_url: str) -> TinyProject:
    """The project, with its tables."""
    files = {
        "asgi.py": ASGI,
        "board/__init__.py": "",
        "board/models.py": MODELS,
        "board/live.py": LIVE,
        "board/views.py": VIEWS,
        **{f"board/templates/board/{name}.html": text for name, text in TEMPLATES.items()},
    }
    project = TinyProject(home, redis_url, SETTINGS, URLS, files)
    project.manage("migrate", "--run-syncdb", "-v0")
    return project
