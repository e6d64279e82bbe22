"""Answers to pages and their scripts that nobody keeps: they are one user's, or of this moment."""

from typing import Any

import msgspec
from django.http import HttpResponse


def as_json(content: Any, status: int = 200) -> HttpResponse:
    """An answer in JSON; bytes are JSON already."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return HttpResponse(body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})
