"""`manage.py reauthorize [--user USER] [--channel NAME] [--client ID]`: look at access again, from a shell."""

from typing import Any

from flotilla.realtime.api.control import reauthorize
from flotilla.realtime.management.commands._control import ControlCommand
from flotilla.realtime.node.control import Acknowledged


class Command(ControlCommand):
    """Look at access again."""

    help = (
        "Check access again, and end connections and subscriptions that are no longer allowed; by default everybody's."
    )
    done = "{} connections and subscriptions ended"
    examples = (
        ("--channel chat:lobby", "everybody in a channel"),
        ("--user ann", "a user, everywhere"),
    )

    def act(self, **options: Any) -> Acknowledged:
        done = reauthorize(
            options["user"],
            channel=options["channel"],
            client=options["client"],
            on_commit=False,
            within=options["within"],
        )
        assert done is not None  # it waits for no commit
        return done
