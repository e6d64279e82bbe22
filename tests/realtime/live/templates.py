"""Templates by their text, for one test."""

from collections.abc import Mapping
from typing import Any


def templates(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """TEMPLATES with these alone, and with what `{% live %}` needs."""
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", dict(texts))],
                "libraries": {"flotilla": "flotilla.realtime.templatetags.flotilla"},
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                ],
            },
        }
    ]
