"""`manage.py publish CHANNEL JSON`: publish from a shell."""

import json
from argparse import ArgumentParser
from typing import Any

from flotilla.command_line import misused
from flotilla.realtime.api.python import Published, publish
from flotilla.realtime.management.commands._shell import ClusterCommand, told


class Command(ClusterCommand):
    """Publish one message into a channel."""

    help = "Publish one message into a channel."
    examples = (
        ('chat:lobby \'{"text": "hello"}\'', "an object"),
        ("news '\"restart at noon\"' --idempotency-key noon", "a string, once however often it is called"),
    )
    shape = {"channel": (), "offset": (), "epoch": ()}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="the channel, as in news or chat:lobby")
        parser.add_argument("data", help='the message as JSON, as in \'{"text": "hello"}\'')
        parser.add_argument("--idempotency-key", help="publish only once per key within five minutes")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            data = json.loads(options["data"])
        except ValueError as error:
            raise misused(f"The message is not JSON ({error}). Put strings in double quotes: '\"hello\"'") from None
        channel, key = options["channel"], options["idempotency_key"]
        placed = told(
            lambda: publish(channel, data, on_commit=False, idempotency_key=key), f"Cannot publish into {channel!r}"
        )
        if options["as_json"]:
            kept = {"offset": placed.offset, "epoch": placed.epoch} if placed is not None and placed.offset else {}
            self.tell({"channel": channel, **kept})
        else:
            self.stdout.write(self.style.SUCCESS(_describe(channel, placed)))


def _describe(channel: str, placed: Published | None) -> str:
    if placed is None or not placed.offset:
        return f"Published into {channel} (it keeps no history)."
    return f"Published into {channel} as offset {placed.offset} of epoch {placed.epoch}."
