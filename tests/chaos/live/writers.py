"""A process that changes cards at random in concurrent transactions, and notes in them what it made of each (`Trace`).

A card is changed, changed twice, moved to another board, deleted, or made again in a slot that had one: one by one and
in bulk, some of it in savepoints that are rolled back, and a third of the transactions as a whole. A transaction locks
the slots that it means in their order, so none waits for another in a circle: one that the database ends is an error.
With `--by-hand`, some of it is SQL that comes past Django, which triggers have to see. With `--beats`, a card of each
board is changed several times a second as well, and each time is told. Runs until SIGTERM; then it says in JSON what
was done.
"""

import argparse
import json
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import django

from tests.cluster.support.cardapp.places import BEATS, BOARDS, SLOTS

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from tests.cluster.support.cardapp.models import Card

BEAT = 0.25  # seconds
UNDONE, SAVED, SAVED_UNDONE = 0.33, 0.25, 0.5  # shares: of transactions; of their steps in a savepoint; of savepoints
KEYS = 8  # slots that a transaction may touch
State = tuple[int, int]  # a card's generation and counter


class Undo(Exception):
    """Rolls back what is around it."""


class Writer(threading.Thread):
    """Makes transactions until `over`, some `rate` a second."""

    def __init__(self, seed: str, rate: float, over: threading.Event, by_hand: bool = False) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.error = ""
        self._chance, self._rate, self._over = random.Random(seed), rate, over
        self._steps: tuple[Callable[[list[int]], set[int]], ...] = (
            self._change,
            self._change_twice,
            self._move,
            self._move,
            self._delete_one,
            self._make,
            self._make,
            self._update_all,
            self._move_all,
            self._change_in_bulk,
            self._delete_all,
            self._make_in_bulk,
        )
        if by_hand:
            self._steps += (self._change_by_hand, self._change_by_hand, self._move_by_hand, self._delete_by_hand)
        self._gone: dict[int, State] = {}

    def run(self) -> None:
        from django.db import connection

        try:
            while not self._over.wait(self._chance.expovariate(self._rate)):
                self._transaction()
        except Exception as error:  # told by the campaign
            self.error = f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def _transaction(self) -> None:
        from django.db import transaction

        from tests.cluster.support.cardapp.models import Slot

        self._gone = {}
        keys = sorted(self._chance.sample(SLOTS, KEYS))
        try:
            with transaction.atomic():
                list(Slot.objects.select_for_update().filter(pk__in=keys).order_by("pk"))
                touched: set[int] = set()
                for _ in range(self._chance.randint(1, 4)):
                    touched |= self._step(keys)
                trace(touched, self._gone)
                if self._chance.random() < UNDONE:
                    raise Undo
        except Undo:
            self.counts["rolled back"] += 1
        else:
            self.counts["committed"] += 1
            self.counts["changes"] += len(touched)

    def _step(self, keys: list[int]) -> set[int]:
        """One kind of change, perhaps in a savepoint; returns the keys that it has changed."""
        from django.db import transaction

        step = self._chance.choice(self._steps)
        if self._chance.random() > SAVED:
            return step(keys)
        gone = dict(self._gone)
        try:
            with transaction.atomic():
                touched = step(keys)
                if self._chance.random() < SAVED_UNDONE:
                    raise Undo
        except Undo:
            self._gone = gone
            self.counts["savepoints rolled back"] += 1
            return set()
        return touched

    # ---- what is done to cards

    def _some(self, keys: list[int], most: int) -> list["Card"]:
        from tests.cluster.support.cardapp.models import Card

        return list(Card.objects.filter(pk__in=self._chance.sample(keys, most)).order_by("pk"))

    def _board(self) -> int:
        return self._chance.randint(1, BOARDS)

    def _title(self) -> str:
        return f"title {self._chance.randrange(1_000_000)}"

    def _change(self, keys: list[int]) -> set[int]:
        cards = self._some(keys, 2)
        for card in cards:
            card.counter, card.title = card.counter + 1, self._title()
            card.save()
        return {card.pk for card in cards}

    def _change_twice(self, keys: list[int]) -> set[int]:
        return self._change(keys) | self._change(keys)

    def _move(self, keys: list[int]) -> set[int]:
        cards = self._some(keys, 2)
        for card in cards:
            card.counter, card.board = card.counter + 1, self._board()
            card.save()
        return {card.pk for card in cards}

    def _delete_one(self, keys: list[int]) -> set[int]:
        cards = self._some(keys, 1)
        for card in cards:
            key = card.pk
            self._gone[key] = card.generation, card.counter + 1
            card.delete()
            return {key}
        return set()

    def _delete_all(self, keys: list[int]) -> set[int]:
        cards = self._some(keys, 3)
        self._gone |= {card.pk: (card.generation, card.counter + 1) for card in cards}
        _cards(cards).delete()
        return {card.pk for card in cards}

    def _new(self, keys: list[int], most: int) -> list["Card"]:
        from tests.cluster.support.cardapp.models import Card, Slot

        wanted = self._chance.sample(keys, most)
        taken = set(Card.objects.filter(pk__in=wanted).values_list("pk", flat=True))
        made = []
        for slot in Slot.objects.filter(pk__in=set(wanted) - taken).order_by("pk"):
            slot.generation += 1
            slot.save()
            made.append(Card(pk=slot.pk, board=self._board(), generation=slot.generation, title=self._title()))
        return made

    def _make(self, keys: list[int]) -> set[int]:
        cards = self._new(keys, 3)
        for card in cards:
            card.save(force_insert=True)
        return {card.pk for card in cards}

    def _make_in_bulk(self, keys: list[int]) -> set[int]:
        from tests.cluster.support.cardapp.models import Card

        cards = self._new(keys, 5)
        Card.objects.bulk_create(cards)
        return {card.pk for card in cards}

    def _change_in_bulk(self, keys: list[int]) -> set[int]:
        from tests.cluster.support.cardapp.models import Card

        cards = self._some(keys, 4)
        for card in cards:
            card.counter, card.title = card.counter + 1, self._title()
        Card.objects.bulk_update(cards, ["counter", "title"])
        return {card.pk for card in cards}

    def _update_all(self, keys: list[int]) -> set[int]:
        from django.db.models import F

        cards = self._some(keys, 6)
        _cards(cards).update(counter=F("counter") + 1, title=self._title())
        return {card.pk for card in cards}

    def _move_all(self, keys: list[int]) -> set[int]:
        from django.db.models import F

        cards = self._some(keys, 4)
        _cards(cards).update(counter=F("counter") + 1, board=self._board())
        return {card.pk for card in cards}

    def _change_by_hand(self, keys: list[int]) -> set[int]:
        change = "UPDATE cardapp_card SET counter = counter + 1, title = %s WHERE id = ANY(%s) RETURNING id"
        return {key for (key,) in by_hand(change, self._title(), self._chance.sample(keys, 4))}

    def _move_by_hand(self, keys: list[int]) -> set[int]:
        change = "UPDATE cardapp_card SET counter = counter + 1, board = %s WHERE id = ANY(%s) RETURNING id"
        return {key for (key,) in by_hand(change, self._board(), self._chance.sample(keys, 3))}

    def _delete_by_hand(self, keys: list[int]) -> set[int]:
        change = "DELETE FROM cardapp_card WHERE id = ANY(%s) RETURNING id, generation, counter"
        gone = by_hand(change, self._chance.sample(keys, 2))
        self._gone |= {key: (generation, counter + 1) for key, generation, counter in gone}
        return {key for key, _, _ in gone}


def by_hand(statement: str, *values: object) -> list[tuple[int, ...]]:
    """Run a statement past the ORM; returns its rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _cards(cards: list["Card"]) -> "QuerySet[Card]":
    from tests.cluster.support.cardapp.models import Card

    return Card.objects.filter(pk__in=[card.pk for card in cards])


def trace(keys: set[int], gone: dict[int, State]) -> None:
    """Note the states that these cards have at the end of a transaction."""
    from tests.cluster.support.cardapp.models import Card, Trace

    there = {card.pk: card for card in Card.objects.filter(pk__in=keys)}
    Trace.objects.bulk_create(
        Trace(key=key, generation=card.generation, counter=card.counter, board=card.board)
        if (card := there.get(key)) is not None
        else Trace(key=key, generation=gone[key][0], counter=gone[key][1], board=0)
        for key in keys
    )


def beat() -> int:
    """Change the card of each board that is changed all the time, and return its counter."""
    from django.db import transaction

    from tests.cluster.support.cardapp.models import Card, Slot

    with transaction.atomic():
        list(Slot.objects.select_for_update().filter(pk__in=BEATS).order_by("pk"))
        for card in Card.objects.filter(pk__in=BEATS).order_by("pk"):
            card.counter += 1
            card.save()
        trace(set(BEATS), {})
    return int(card.counter)


def prepare(seed: int) -> None:
    """The slots, the cards of the beats, and cards in half of the slots."""
    from django.db import transaction

    from tests.cluster.support.cardapp.models import Card, Slot

    chance = random.Random(seed)
    with transaction.atomic():
        taken = [*BEATS, *chance.sample(SLOTS, len(SLOTS) // 2)]
        Slot.objects.bulk_create(Slot(pk=key, generation=key in taken) for key in (*BEATS, *SLOTS))
        boards = {key: key if key in BEATS else chance.randint(1, BOARDS) for key in taken}
        Card.objects.bulk_create(Card(pk=key, board=board, generation=1) for key, board in boards.items())
        trace(set(taken), {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--number", type=int, default=0, help="of the process")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3.0, help="transactions a second, of each thread")
    parser.add_argument("--beats", action="store_true")
    parser.add_argument("--by-hand", action="store_true")
    parser.add_argument("--prepare", action="store_true", help="only make what there is at the beginning")
    options = parser.parse_args()
    django.setup()
    if options.prepare:
        prepare(options.seed)
        return
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    names = (f"{options.seed} {options.number} {thread}" for thread in range(options.threads))
    writers = [Writer(name, options.rate, over, options.by_hand) for name in names]
    for writer in writers:
        writer.start()
    while not over.wait(BEAT):
        if options.beats:
            print(json.dumps({"beat": beat()}), flush=True)
    for writer in writers:
        writer.join()
    done = sum((writer.counts for writer in writers), Counter())
    print(json.dumps({"done": done, "errors": [writer.error for writer in writers if writer.error]}), flush=True)


if __name__ == "__main__":
    main()
