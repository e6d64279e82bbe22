"""`manage.py presence CHANNEL`: who is in a channel, as Redis has it."""

from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import CommandError

from flotilla.realtime.api.inspection import channel_states, members
from flotilla.realtime.api.publishing import options_of
from flotilla.realtime.management.commands._look import Listing, LookCommand, person


class Command(LookCommand):
    """Show who is in a channel."""

    help = "Show who is in a channel, over all instances."
    rows_are = "members"
    examples = (("chat:lobby", "who is in a channel"),)
    shape = {
        "channel": (),
        "connections": (),
        "users": (),
        "members": ("client", "user", "username", "incarnation", "info"),
        "next": (),
    }
    columns = (
        ("USER", person),
        ("CONNECTION", lambda row: row["client"]),
        ("INCARNATION", lambda row: row["incarnation"]),
    )
    max_limit = 1000

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="the channel, as in chat:lobby")
        super().add_arguments(parser)

    def look(self, **options: Any) -> Listing:
        name = options["channel"]
        keeps = options_of(name).presence
        (state,) = channel_states([name])
        if not keeps and not state["present"]:
            raise CommandError(f"{name} has no presence: `presence` is off in its namespace.")
        seen, following = members(name, after=options["after"], limit=options["limit"])
        rows = [
            {
                "client": one.client,
                "user": one.user,
                "incarnation": one.incarnation,
                "info": msgspec.Raw(one.info or b"null"),
            }
            for one in seen
        ]
        about = {"channel": name, "connections": state["present"], "users": state["users"]}
        summary = f"{_counted(state['present'], 'connection')} of {_counted(state['users'], 'user')} in {name}"
        return Listing(rows, about, summary, following)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
