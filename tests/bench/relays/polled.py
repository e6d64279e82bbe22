"""A polled table, as Centrifugo documents its consumer of a PostgreSQL outbox: one partition, with its defaults.

    python -m tests.bench.relays.polled [notified]

In a transaction: an advisory lock, the oldest 100 rows, each published, all deleted. A page that was not full is
followed by a pause of 300 ms; `notified`: or until PostgreSQL notifies. The publications of a page go to Redis in one
pipeline, by the platform's own script: to publish costs the same as for the relay beside which this is measured.
"""

import os
import sys
import time

import django

from tests.bench.relays.fill import CHANNELS

LIMIT, INTERVAL = 100, 0.3
TABLE = "CREATE TABLE IF NOT EXISTS polled (id bigserial PRIMARY KEY, channel text NOT NULL, body text NOT NULL)"


def main() -> None:
    notified = sys.argv[1:] == ["notified"]
    django.setup()
    import psycopg
    import redis
    from django.db import connection

    from flotilla import publish
    from flotilla.realtime.api.publishing import body_of, options_of
    from flotilla.realtime.engine import calls

    connection.ensure_connection()
    server = redis.Redis.from_url(os.environ["REDIS_URL"])
    database = psycopg.connect(connection.connection.info.dsn, autocommit=True)
    listener = psycopg.connect(connection.connection.info.dsn, autocommit=True)
    listener.execute("LISTEN polled")
    loaded: set[str] = set()
    for number in range(CHANNELS):  # the platform makes sure of a new Redis once, which the script then relies on
        publish(f"bench:{number}", {}, on_commit=False)

    def once() -> int:
        with database.transaction():
            database.execute("SELECT pg_advisory_xact_lock(1)")
            rows = database.execute(f"SELECT id, channel, body FROM polled ORDER BY id LIMIT {LIMIT}").fetchall()
            if rows:
                pipeline = server.pipeline(transaction=False)
                for _, channel, body in rows:
                    call = calls.publish(channel, body_of(body.encode(), None), options_of(channel))
                    if call.script.sha not in loaded:
                        server.script_load(call.script.text)
                        loaded.add(call.script.sha)
                    pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
                pipeline.execute()
                database.execute("DELETE FROM polled WHERE id = ANY(%s)", [[row[0] for row in rows]])
        return len(rows)

    while True:
        if once() < LIMIT:
            if notified:
                list(listener.notifies(timeout=INTERVAL, stop_after=1))
            else:
                time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
