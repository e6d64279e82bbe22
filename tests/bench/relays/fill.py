"""Writes rows that are to be published: all in one transaction, or each in its own at a RATE a second.

    python -m tests.bench.relays.fill outbox|polled ROWS RATE

`outbox`: by `publish(durable=True)`. `polled`: into a table of this bench (`polled.py`), by an INSERT. RATE 0: in one
transaction.
"""

import json
import sys
import time

import django

CHANNELS = 20


def main() -> None:
    kind, rows, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    django.setup()
    from django.db import connection, transaction

    from flotilla import publish

    def write(number: int) -> None:
        channel = f"bench:{number % CHANNELS}"
        data = {"n": number, "at": time.time_ns() // 1000, "text": "x" * 100}
        if kind == "outbox":
            publish(channel, data, durable=True)
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO polled (channel, body) VALUES (%s, %s)", [channel, json.dumps(data, separators=(",", ":"))]
            )

    if not rate:
        with transaction.atomic():
            for number in range(rows):
                write(number)
            if kind == "polled":
                connection.cursor().execute("NOTIFY polled")
        return
    began = time.monotonic()
    for number in range(rows):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        with transaction.atomic():
            write(number)
            if kind == "polled":
                connection.cursor().execute("NOTIFY polled")


if __name__ == "__main__":
    main()
