"""`manage.py make_rooms PASSWORD`: two people and two rooms to try the example with; `make run` calls it."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from examples.rooms.models import Membership, Room

PEOPLE = {"ann": ("lobby", "workshop"), "bob": ("lobby",)}


class Command(BaseCommand):
    """Makes who and what is missing; what was changed since, a membership that was taken away say, stays changed."""

    help = "Makes the users ann and bob, with the password given, and two rooms. Ann is in both, bob in one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("password")

    def handle(self, *, password: str, **_: Any) -> None:
        users = get_user_model()._default_manager
        for name, rooms in PEOPLE.items():
            if users.filter(username=name).exists():
                continue
            user = users.create_user(username=name, password=password)
            Room.objects.bulk_create([Room(name=room) for room in rooms], ignore_conflicts=True)
            # in bulk, which announces nothing: there is no instance yet that could be told
            Membership.objects.bulk_create([Membership(user=user, room_id=room) for room in rooms])
