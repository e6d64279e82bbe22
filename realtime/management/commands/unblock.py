"""`manage.py unblock --user ID | --address ADDRESS`: let somebody in again, from a shell."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flotilla.realtime.api.blocks import unblock
from flotilla.store import StoreUnavailable


class Command(BaseCommand):
    """Unblock a user or an address."""

    help = "Let a user or an address in again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="a user's id")
        parser.add_argument("--address", default="", help="an IP address; an IPv6 address counts as its /64")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = unblock(options["user"], address=options["address"])
        except ValueError as error:
            raise CommandError(f"{error}.") from None
        except StoreUnavailable as error:
            raise CommandError(f"{error}. Is Redis running, and is REDIS_URL right?") from None
        if not done:
            raise CommandError("not blocked.")
        self.stdout.write(self.style.SUCCESS("unblocked"))
