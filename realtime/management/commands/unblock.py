"""`manage.py unblock --user USER | --address ADDRESS`: let somebody in again, from a shell."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from flotilla.realtime.api.blocks import unblock
from flotilla.realtime.management.commands._shell import ClusterCommand, add_user, asked_user, told


class Command(ClusterCommand):
    """Unblock a user or an address."""

    help = "Let a user or an address in again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_user(parser)
        parser.add_argument("--address", default="", help="an IP address; an IPv6 address counts as its /64")

    def handle(self, *args: Any, **options: Any) -> None:
        user = asked_user(options)
        if user is not None:
            self.stdout.write(f"user: {user}")
        if not told(lambda: unblock(user.id if user is not None else None, address=options["address"])):
            raise CommandError("not blocked.")
        self.stdout.write(self.style.SUCCESS("unblocked"))
