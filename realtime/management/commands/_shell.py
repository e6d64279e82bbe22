"""What all commands share: how they name a user, and how errors of the API are shown in a shell."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError

from flotilla.command_line import MEANINGS, OurCommand, Status, away, misused
from flotilla.conf import set_for_this_process
from flotilla.natural_names import USER_HELP, NamedUser, UnknownName, sentence, unreachable, user_named
from flotilla.realtime.management.commands._documents import document, line
from flotilla.realtime.protocol.codes import CommandError as ProtocolError
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.embedded_redis import running_at
from flotilla.store import StoreUnavailable
from flotilla.store.conf import get_store_config, require_shared_store

Result = TypeVar("Result")


class ClusterCommand(OurCommand):
    """A command about the instances that run. Where no Redis is configured, `serve` may have brought one along for this
    project: then that is the one."""

    statuses = {status: MEANINGS[status] for status in (Status.NOT_DONE, Status.AWAY)}

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As the base's, which begins with the system checks: they want a Redis."""
        config = told(get_store_config)
        if settings.DEBUG and (config.in_process or not config.redis_urls):
            brought = running_at(Path(get_server_config().var_dir) / "redis")
            if brought:
                set_for_this_process(redis_url=brought)
        told(require_shared_store)
        try:
            done = super().execute(*args, **options)
            self.stdout.flush()
        except BrokenPipeError:  # whoever reads it, as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        return done

    def document(self, told: Mapping[str, Any]) -> str:
        return line(told) if self.lines else document(told)


def told(action: Callable[[], Result], failed: str = "This cannot be done") -> Result:
    """What a call of the API returns; its errors as a sentence, with which the command ends: status 2 for a call that
    makes no sense, 3 for a Redis that does not answer, 1 for what is refused (`failed` begins that sentence)."""
    try:
        return action()
    except ValueError as error:
        raise misused(f"{error}.") from None
    except ProtocolError as error:
        raise CommandError(f"{failed}: {error.message}.") from None
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    except StoreUnavailable as error:
        why = str(error).rstrip(".")
        raise away(f"{why}. Is Redis running, and is REDIS_URL right?") from None


def add_user(parser: ArgumentParser) -> None:
    """The option `--user`."""
    parser.add_argument("--user", metavar="USER", help=USER_HELP)


def asked_user(options: dict[str, Any]) -> NamedUser | None:
    """The user that `--user` names; None without the option. Raises CommandError for nobody."""
    return None if options["user"] is None else known_user(options["user"])


def of_user(user: NamedUser | None) -> dict[str, str]:
    """The user of a command in its document; nothing where none was named."""
    return {} if user is None else {"user": user.id, "username": user.name}


def known_user(text: str) -> NamedUser:
    """The user whom people call so. Raises CommandError, with what to write instead."""
    try:
        return user_named(text)
    except UnknownName as error:
        raise CommandError(sentence(error)) from None
    except DatabaseError as error:
        raise away(f"{unreachable(error)} With id: before an id nobody is looked up.") from None
