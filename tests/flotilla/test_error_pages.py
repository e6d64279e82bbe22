"""What is told to who gets no answer: in the form that is asked for, whole by itself, and nothing of anybody's."""

import json
import re
from base64 import b64encode
from hashlib import sha256

import pytest

from flotilla.error_pages import PLAIN, answer, page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
STATUSES = (400, 403, 404, 408, 413, 414, 429, 431, 500, 501, 503, 599)


@pytest.mark.parametrize("status", STATUSES)
def test_a_page_is_small_and_whole_by_itself(status: int) -> None:
    shown = page(status, "the detail")
    assert len(shown.encode()) < 2500
    assert f"<small>{status} " in shown
    assert '<html lang="en">' in shown and re.search(r"<title>[^<]+</title>", shown) and shown.count("<h1>") == 1
    assert "prefers-color-scheme: dark" in shown
    assert not re.search(r"""(src|href|action)\s*=|url\(|@import|<script|<form""", shown), (
        "it fetches and sends nothing"
    )


def test_its_policy_lets_its_style_in_and_nothing_else() -> None:
    headers, body = answer(BROWSER, 404)
    style = re.search(r"<style>(.*)</style>", body.decode(), re.DOTALL)
    assert style is not None
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("style-src") == f"'sha256-{b64encode(sha256(style[1].encode()).digest()).decode()}'"
    assert set(policy.values()) == {"'none'"} and "default-src" in policy
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accept", "otherwise", "kind"),
    [
        (BROWSER, PLAIN, "text/html; charset=utf-8"),
        ("Text/HTML", PLAIN, "text/html; charset=utf-8"),
        ("application/json", PLAIN, "application/problem+json"),
        ("application/problem+json", PLAIN, "application/problem+json"),
        ("*/*", PLAIN, "text/plain"),
        ("", PLAIN, "text/plain"),
        ("*/*", "application/problem+json", "application/problem+json"),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(accept: str, otherwise: str, kind: str) -> None:
    headers, body = answer(accept, 413, "a body has at most 7 bytes here", otherwise=otherwise)
    assert headers["Content-Type"] == kind
    assert b" body has at most 7 bytes here" in body
    if kind == "application/problem+json":
        assert json.loads(body)["status"] == 413


def test_what_is_said_is_text() -> None:
    hostile = '<img src=x onerror="alert(1)">'
    assert "<img" not in page(400, hostile) and "&lt;img" in page(400, hostile)
    assert '"x"' not in page(404, home='/"x"/')


def test_a_reason_phrase_is_not_said_twice() -> None:
    assert page(500, "Internal Server Error").count("Internal Server Error") == 1
