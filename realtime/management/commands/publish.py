"""`manage.py publish CHANNEL JSON`: publish from a shell."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from flotilla.command_line import misused
from flotilla.realtime.api.durable import is_durable
from flotilla.realtime.api.publishing import options_of
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
        parser.add_argument("--durable", action="store_true", help="write it to the outbox, for a relay to send")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            data = json.loads(options["data"])
        except ValueError as error:
            raise misused(f"The message is not JSON ({error}). Put strings in double quotes: '\"hello\"'") from None
        channel, key = options["channel"], options["idempotency_key"]
        durable: bool | None = options["durable"] or None

        def send() -> Published | None:
            nonlocal durable
            durable = is_durable(options_of(channel), durable)
            return publish(channel, data, on_commit=durable, idempotency_key=key, durable=durable)

        try:
            placed = told(send, f"Cannot publish into {channel!r}")
        except DatabaseError as error:
            raise CommandError(f"The database did not take it: {error}") from None
        if options["as_json"]:
            kept = {"offset": placed.offset, "epoch": placed.epoch} if placed is not None and placed.offset else {}
            self.tell({"channel": channel, **kept})
        else:
            self.stdout.write(self.style.SUCCESS(_describe(channel, placed, durable=bool(durable))))


def _describe(channel: str, placed: Published | None, *, durable: bool) -> str:
    if durable:
        return f"Written to the outbox for {channel}: a relay sends it."
    if placed is None or not placed.offset:
        return f"Published into {channel} (it keeps no history)."
    return f"Published into {channel} as offset {placed.offset} of epoch {placed.epoch}."
