"""System checks of the environment: every variable that is wrong or missing, by name, with the mend.

Owns what the environment must hold for Django; `flotilla.realtime.checks` judges the real-time configuration's content.
A server that loads the ASGI application refuses to start while any check finds an error.
"""

import difflib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Warning, register, run_checks
from django.core.management.base import SystemCheckError

from flotilla.problems import Problem

logger = logging.getLogger("project.checks")

MIN_SECRET_KEY = 32  # characters
VARIABLES = (
    "DATABASE_URL",
    "DJANGO_ALLOWED_HOSTS",
    "DJANGO_DEBUG",
    "DJANGO_SECRET_KEY",
    "DJANGO_SECRET_KEY_FALLBACKS",
    "DJANGO_TLS_PROXY",
    "DRAIN_DEADLINE",
    "DRAIN_GRACE",
    "FLOTILLA_DEMO",
    "FLOTILLA_VAR",
    "HOST",
    "HTTP_KEEP_ALIVE",
    "HTTP_LEAST_BODY_RATE",
    "HTTP_MAX_BODY",
    "HTTP_MAX_BODY_PATHS",
    "HTTP_MAX_WAITING",
    "HTTP_MAX_WAITING_PER_ADDRESS",
    "HTTP_STALLED_AFTER",
    "HTTP_TIMEOUT",
    "INSTANCES",
    "INSTANCE_ID",
    "METRICS_CERTIFICATES",
    "METRICS_HOST",
    "METRICS_PORT",
    "PORT",
    "RATE_LIMIT_REDIS_URL",
    "RATE_LIMIT_TRUSTED_PROXIES",
    "REALTIME_ALLOWED_ORIGINS",
    "REALTIME_API_KEYS",
    "REALTIME_CONFIG",
    "REALTIME_TOKEN_SECRET",
    "REALTIME_TOKEN_SECRET_FALLBACKS",
    "REDIS_DURABLE",
    "REDIS_URL",
    "ROOT_PATH",
)
_OURS = ("HTTP_MAX_", "REALTIME_", "REDIS_", "METRICS_", "RATE_LIMIT_", "DRAIN_")


@register("environment")
def check_environment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Everything that is wrong with the environment variables."""
    return [*_faults(settings.ENVIRONMENT.problems), *_secret_key(), *_unknown(settings.ENVIRONMENT.values)]


def _faults(problems: Sequence[Problem]) -> Iterator[CheckMessage]:
    for problem in problems:
        yield Error(problem.fault, hint=problem.hint, id="project.E001")
    if settings.DRAIN_GRACE >= settings.DRAIN_DEADLINE:
        message = (
            f"DRAIN_GRACE ({settings.DRAIN_GRACE:g} s) is not less than DRAIN_DEADLINE ({settings.DRAIN_DEADLINE:g} s)."
        )
        yield Error(
            message, hint="Raise DRAIN_DEADLINE: clients are told to reconnect between the two.", id="project.E003"
        )


def _secret_key() -> Iterator[CheckMessage]:
    mend = "Set it to 50 random characters, as printed by `openssl rand -base64 40`."
    key = settings.ENVIRONMENT.text("DJANGO_SECRET_KEY")
    if not key and not settings.DEBUG:
        yield Error("DJANGO_SECRET_KEY: it is required when DEBUG is off.", hint=mend, id="project.E002")
    elif key and len(key) < MIN_SECRET_KEY:
        message = f"DJANGO_SECRET_KEY has fewer than {MIN_SECRET_KEY} characters: sessions could be forged."
        yield Warning(message, hint=mend, id="project.W001")


def _unknown(names: Iterable[str]) -> Iterator[CheckMessage]:
    """Variables that look like ours and are none: most likely a slip of the pen."""
    for name in sorted(names):
        if name.startswith(_OURS) and name.removesuffix("_FILE") not in VARIABLES:
            close = difflib.get_close_matches(name, VARIABLES, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Remove it."
            yield Warning(f"{name}: there is no such variable.", hint=hint, id="project.W002")


def refuse_faults() -> None:
    """Raise SystemCheckError with every error the checks find; for servers, which run no checks by themselves."""
    errors = [message for message in run_checks() if message.level >= ERROR and not message.is_silenced()]
    if errors:
        raise SystemCheckError("The configuration cannot be used:\n\n" + "\n".join(map(str, errors)))
