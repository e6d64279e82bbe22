"""`manage.py explain_access USER CHANNEL`: every rule that is asked, its answer, and the verdict."""

import json
from argparse import ArgumentParser
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from flotilla.realtime.access.explain import Verdict, explain
from flotilla.realtime.conf import get_config


class Command(BaseCommand):
    """Explain who may do what."""

    help = "Explain what a user may do in a channel: every rule that is asked, its answer, and the verdict."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help='a user\'s id or name; "" is a visitor')
        parser.add_argument("channel", help="the channel, as in chat:lobby")
        parser.add_argument("--data", default="null", help="the data that the client would send, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            data = json.loads(options["data"])
        except ValueError as error:
            raise CommandError(f"The data is not JSON ({error}).") from None
        user = _id_of(options["user"])
        verdicts = async_to_sync(explain)(user, options["channel"], get_config(), data)
        for verdict in verdicts:
            self._write(verdict)

    def _write(self, verdict: Verdict) -> None:
        for rule, answer in verdict.rules:
            self.stdout.write(f"  {rule}: {answer}")
        style = self.style.SUCCESS if verdict.allowed else self.style.ERROR
        why = f" ({verdict.error})" if verdict.error else ""
        self.stdout.write(style(f"{verdict.action}: {'allowed' if verdict.allowed else 'denied'}{why}"))


def _id_of(given: str) -> str:
    """The id of the user so called; what is no user's id or name is taken for an id of another system."""
    users = get_user_model()._default_manager
    try:
        if not given or users.filter(pk=given).exists():
            return given
    except (ValueError, ValidationError, OverflowError):
        pass
    found = users.filter(**{get_user_model().USERNAME_FIELD: given}).first()
    return str(found.pk) if found is not None else given
