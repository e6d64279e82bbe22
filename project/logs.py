"""Log lines as JSON objects, one per line, for machines; text with the level and the logger for people.

A line carries the message, the traceback's text and the few fields named in FIELDS: never a request's headers, cookies,
body or query string, which is where tokens and payloads are.
"""

import json
import logging
import time
from typing import Any

FIELDS = ("client", "user", "channel", "method", "code", "reason", "address", "status_code")


class JsonFormatter(logging.Formatter):
    """One JSON object per line. `instance` names the process."""

    def __init__(self, instance: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a newline inside."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "instance": self._instance,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if isinstance(value := getattr(record, name, None), str | int | float)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def without_traceback(record: logging.LogRecord) -> bool:
    """A filter for requests that Django refused (a wrong Host, a form that is none): one line, for the fault is not in
    our code."""
    refused = record.name == "django.request" and record.levelno < logging.ERROR
    if refused or record.name.startswith("django.security"):
        record.exc_info = record.exc_text = None
    return True


def logging_settings(*, as_json: bool, instance: str) -> dict[str, Any]:
    """Django's LOGGING."""
    formatters = {
        "json": {"()": JsonFormatter, "instance": instance},
        "text": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{", "datefmt": "%H:%M:%S"},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "json" if as_json else "text",
                "filters": [without_traceback],
            }
        },
        "root": {"handlers": ["console"], "level": "INFO"},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "INFO", "propagate": True},
            "daphne": {"level": "WARNING"},
            "asyncio": {"level": "WARNING"},
        },
    }
