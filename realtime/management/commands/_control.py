"""What the commands to connections share: whom they are about, and how they tell what was done."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flotilla.realtime.node.control import Acknowledged
from flotilla.realtime.protocol.codes import CommandError as ProtocolError
from flotilla.store import StoreUnavailable


class ControlCommand(BaseCommand):
    """A command to every instance. `act` carries it out; `done` says what it did, with `{}` for how many."""

    done = "{} hit"
    about_channels = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="a user's id")
        parser.add_argument("--client", default="", help="one connection, by its id")
        if self.about_channels:
            parser.add_argument("--channel", default="", help="a channel, as in chat:lobby")
        parser.add_argument("--within", type=float, default=2.0, help="seconds to wait for the instances (%(default)s)")

    def act(self, **options: Any) -> Acknowledged | None:
        """Do it."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        done = told(lambda: self.act(**options))
        if done is None:
            return
        self.stdout.write(self.style.SUCCESS(f"{self.done.format(done.hit)}; {_answered(done)}."))
        if not done.complete:
            raise CommandError(f"{done.instances - done.answered} instances have not answered within the deadline.")


def told(action: Callable[[], Acknowledged | None]) -> Acknowledged | None:
    """The outcome of a call of the API, its errors as a shell shows them."""
    try:
        return action()
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    except ProtocolError as error:
        raise CommandError(f"This cannot be done: {error.message}.") from None
    except StoreUnavailable as error:
        raise CommandError(f"{error}. Is Redis running, and is REDIS_URL right?") from None


def _answered(done: Acknowledged) -> str:
    return f"{done.answered} of {done.instances} instances answered"
