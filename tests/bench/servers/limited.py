"""Servers whose requests are limited by what their path ends with: `free` by nothing, `one` by one policy, `three`."""

import sys
from typing import Any, ClassVar

from tests.bench.pages.urls import EMPTY, EMPTY_COROUTINE
from tests.bench.servers.base import answers
from tests.bench.servers.flotilla import FlotillaPages

RATES = ("100000/s burst=100000", "1000000/m burst=1000000", "100000/m")
"""Two of GCRA and a strict one, which the bench does not reach."""


def _guarding(*whats: str) -> list[str]:
    return [f"http:{path}{what}" for path in (EMPTY, EMPTY_COROUTINE) for what in whats]


class FlotillaLimited(FlotillaPages):
    """One process of ours: requests come by ASGI."""

    name = "asgi"
    title = "ASGI, Flotilla on Daphne"
    options: ClassVar[dict[str, Any]] = {
        "rate_limits": {
            "address": {"guards": _guarding("one", "three"), "key": "ip", "rate": RATES[0]},
            "key": {"guards": _guarding("three"), "key": "header:X-API-Key", "rate": RATES[1]},
            "nothing": {"guards": _guarding("three"), "key": "header:X-Nothing", "rate": RATES[2]},
        }
    }


class GunicornLimited(FlotillaLimited):
    """One process of gunicorn, which answers in threads: requests come by WSGI."""

    name = "wsgi"
    title = "WSGI, gunicorn with threads"

    def _command(self, port: int) -> list[str]:
        words = ["--worker-class", "gthread", "--threads", "4", "--workers", "1", "--no-control-socket"]
        application = "tests.bench.pages.wsgi:application"
        return [sys.executable, "-m", "gunicorn", *words, "--bind", f"127.0.0.1:{port}", application]

    def _ready(self, port: int) -> bool:
        return answers(port)
