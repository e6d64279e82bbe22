"""`manage.py make_rooms PASSWORD`: two people and two rooms to try the example with; `make run` calls it."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model

from examples.rooms.models import Membership, Room
from flotilla.command_line import OurCommand

PEOPLE = {"ann": ("lobby", "workshop"), "bob": ("lobby",)}


class Command(OurCommand):
    """Makes who and what is missing; what was changed since, a membership that was taken away say, stays changed."""

    help = "Makes the users ann and bob, with the password given, and two rooms. Ann is in both, bob in one."

    examples = (("'a password'", "ann and bob, with this password"),)
    shape = {"made": ("user", "rooms")}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("password", help="of both")

    def handle(self, *, password: str, as_json: bool, **_: Any) -> None:
        made: list[dict[str, Any]] = []
        users = get_user_model()._default_manager
        for name, rooms in PEOPLE.items():
            if users.filter(username=name).exists():
                continue
            user = users.create_user(username=name, password=password)
            Room.objects.bulk_create([Room(name=room) for room in rooms], ignore_conflicts=True)
            # in bulk, which announces nothing: there is no instance yet that could be told
            Membership.objects.bulk_create([Membership(user=user, room_id=room) for room in rooms])
            made.append({"user": name, "rooms": list(rooms)})
        if as_json:
            self.tell({"made": made})
