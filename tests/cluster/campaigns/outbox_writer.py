"""A process of the outbox's campaign that publishes in transactions, many at once, and notes in them what it published.

Each thread has a connection of its own. A third of the messages is rolled back, with their transaction or with a
savepoint in it; channels come in any order. Says once a second how much was written, and at the end what became of it,
in JSON lines. A transaction that the database ends by itself is an error, and is told.
"""

import argparse
import json
import random
import threading
import time
from dataclasses import asdict, dataclass

import django

CHANNELS = [f"outbox:{number}" for number in range(20)]
MOST = 9  # messages of a transaction
UNDONE, SAVED = 0.28, 0.2  # shares: transactions that are rolled back; messages in a savepoint, of which half goes


class Undo(Exception):
    """Rolls back what is around it."""


@dataclass(slots=True)
class Tally:
    """What became of the messages."""

    written: int = 0
    committed: int = 0
    undone: int = 0
    transactions: int = 0
    error: str = ""


class Writer(threading.Thread):
    """Writes `messages`, at most `rate` a second, numbered from `first` on."""

    def __init__(self, first: int, messages: int, rate: float, seed: int) -> None:
        super().__init__()
        self.tally = Tally()
        self._first, self._messages, self._rate = first, messages, rate
        self._chance = random.Random(f"{seed} {first}")

    def run(self) -> None:
        from django.db import connection

        began = time.monotonic()
        try:
            while self.tally.written < self._messages:
                self._transaction()
                time.sleep(max(0.0, began + self.tally.written / self._rate - time.monotonic()))
        except Exception as error:  # told by the campaign
            self.tally.error = f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def _transaction(self) -> None:
        from django.db import transaction

        kept, chance = 0, self._chance
        count = min(chance.randint(1, MOST), self._messages - self.tally.written)
        try:
            with transaction.atomic():
                for _ in range(count):
                    kept += self._message()
                    if chance.random() < 0.1:
                        time.sleep(chance.random() * 0.01)  # so that others commit meanwhile
                if chance.random() < UNDONE:
                    raise Undo
        except Undo:
            kept = 0
        self.tally.transactions += 1
        self.tally.committed += kept
        self.tally.undone += count - kept

    def _message(self) -> int:
        """Publish and note one; returns how many of it were kept in the transaction."""
        from django.db import transaction

        number = self._first + self.tally.written
        self.tally.written += 1
        channel = self._chance.choice(CHANNELS)
        if self._chance.random() > SAVED:
            _publish(channel, number)
            return 1
        undone = self._chance.random() < 0.5
        try:
            with transaction.atomic():
                _publish(channel, number)
                if undone:
                    raise Undo
        except Undo:
            return 0
        return 1


def _publish(channel: str, number: int) -> None:
    from flotilla import publish
    from tests.cluster.support.cardapp.models import Note

    Note.objects.create(channel=channel, number=number)
    publish(channel, {"n": number}, durable=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("first", "messages", "threads", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages a second, of all threads together")
    options = parser.parse_args()
    django.setup()
    each = options.messages // options.threads
    writers = [
        Writer(options.first + number * each, each, options.rate / options.threads, options.seed)
        for number in range(options.threads)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        writers[0].join(0.2)
        for writer in writers:
            writer.join(0.05)
        print(json.dumps({"written": sum(writer.tally.written for writer in writers)}), flush=True)
    print(json.dumps({"tallies": [asdict(writer.tally) for writer in writers]}), flush=True)


if __name__ == "__main__":
    main()
