"""`manage.py unblock --user USER | --address ADDRESS`: let somebody in again, from a shell."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import Status
from flotilla.realtime.api.blocks import unblock
from flotilla.realtime.management.commands._shell import ClusterCommand, add_user, asked_user, of_user, told


class Command(ClusterCommand):
    """Unblock a user or an address."""

    help = "Let a user or an address in again."
    examples = (("--user ann", "end the block of a user"), ("--address 192.0.2.7", "end that of an address"))
    statuses = {**ClusterCommand.statuses, Status.NOT_DONE: "there was no such block, or no such user"}
    shape = {"user": (), "username": (), "address": (), "unblocked": ()}

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_user(parser)
        parser.add_argument("--address", default="", help="an IP address; an IPv6 address counts as its /64")

    def handle(self, *args: Any, **options: Any) -> None:
        user = asked_user(options)
        done = told(lambda: unblock(user.id if user is not None else None, address=options["address"]))
        if options["as_json"]:
            self.tell({**of_user(user), "address": options["address"] or None, "unblocked": bool(done)})
        elif user is not None:
            self.stdout.write(f"user: {user}")
        if not done:
            raise CommandError("not blocked.")
        if not options["as_json"]:
            self.stdout.write(self.style.SUCCESS("unblocked"))
