"""What all commands share: how they name a user, and how errors of the API are shown in a shell."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from flotilla.conf import set_for_this_process
from flotilla.natural_names import USER_HELP, NamedUser, UnknownName, sentence, unreachable, user_named
from flotilla.realtime.protocol.codes import CommandError as ProtocolError
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.embedded_redis import running_at
from flotilla.store import StoreUnavailable
from flotilla.store.conf import get_store_config

Result = TypeVar("Result")


class ClusterCommand(BaseCommand):
    """A command about the instances that run. Where no Redis is configured, `serve` may have brought one along for this
    project: then that is the one."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As the base's, which begins with the system checks: they want a Redis."""
        if settings.DEBUG and not told(get_store_config).redis_urls:
            brought = running_at(Path(get_server_config().var_dir) / "redis")
            if brought:
                set_for_this_process(redis_url=brought)
        try:
            done = super().execute(*args, **options)
            self.stdout.flush()
        except BrokenPipeError:  # whoever reads it, as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        return done


def told(action: Callable[[], Result], failed: str = "This cannot be done") -> Result:
    """What a call of the API returns; its errors as a sentence, with which the command ends (status 1). `failed` begins
    the sentence where the API refuses what was asked."""
    try:
        return action()
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    except ProtocolError as error:
        raise CommandError(f"{failed}: {error.message}.") from None
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    except StoreUnavailable as error:
        why = str(error).rstrip(".")
        raise CommandError(f"{why}. Is Redis running, and is REDIS_URL right?") from None


def add_user(parser: ArgumentParser) -> None:
    """The option `--user`."""
    parser.add_argument("--user", metavar="USER", help=USER_HELP)


def asked_user(options: dict[str, Any]) -> NamedUser | None:
    """The user that `--user` names; None without the option. Raises CommandError for nobody."""
    return None if options["user"] is None else known_user(options["user"])


def known_user(text: str) -> NamedUser:
    """The user whom people call so. Raises CommandError, with what to write instead."""
    try:
        return user_named(text)
    except UnknownName as error:
        raise CommandError(sentence(error)) from None
    except DatabaseError as error:
        raise CommandError(f"{unreachable(error)} With id: before an id nobody is looked up.") from None
