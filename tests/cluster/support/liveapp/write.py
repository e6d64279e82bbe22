"""Writes tickets until it is told to end: `python -m tests.cluster.support.liveapp.write SEED`.

Transactions of several rows, some of them rolled back; rows are made, changed, moved to another board and deleted. At
the end (a line on stdin, or its end) what the boards hold is printed as JSON: names and turns by board.
"""

import json
import random
import sys
import threading
import time

import django
from django.db import OperationalError, transaction

NAMES = [f"ticket {number}" for number in range(20)]
BOARDS = (1, 2)
ATTEMPTS = 50  # while others write to the same SQLite


def write(chance: random.Random, turn: int) -> None:
    """One transaction."""
    from tests.cluster.support.liveapp.models import Ticket

    with transaction.atomic():
        for name in chance.sample(NAMES, 3):
            ticket = Ticket.objects.filter(name=name).first()
            if ticket is None:
                Ticket.objects.create(name=name, board_id=chance.choice(BOARDS), turn=turn)
            elif chance.random() < 0.2:
                ticket.delete()
            else:
                ticket.turn = turn
                if chance.random() < 0.2:
                    ticket.board_id = chance.choice(BOARDS)
                ticket.save()
        if chance.random() < 0.3:
            transaction.set_rollback(True)


def main(seed: int) -> None:
    """Write, and tell at the end."""
    from tests.cluster.support.liveapp.models import Ticket

    chance, end = random.Random(seed), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), end.set()), daemon=True).start()
    turn = int(time.time()) % 10_000_000 * 100  # above those of whoever wrote before
    while not end.is_set():
        turn += 1
        for attempt in range(ATTEMPTS):
            try:
                write(chance, turn)
                break
            except OperationalError:
                if attempt == ATTEMPTS - 1:
                    raise
        time.sleep(0.02)
    boards: dict[int, dict[str, int]] = {board: {} for board in BOARDS}
    for ticket in Ticket.objects.all():
        boards[ticket.board_id][ticket.name] = ticket.turn
    print(json.dumps(boards), flush=True)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))
