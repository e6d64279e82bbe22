"""What holds on MySQL and MariaDB, where no trigger gives positions."""

from django.db import transaction

from flotilla.realtime.outbox.rows import write
from tests.realtime.outbox.databases import Threads, execute, rows, said
from tests.realtime.outbox.relaying import until

WITHIN = 60.0  # seconds


def test_no_row_is_passed_over_on_mysql(on_mysql: str) -> None:
    """What was written first comes first, although it was committed last."""
    with Threads(on_mysql, 2) as threads:
        with transaction.atomic(using=on_mysql):
            write("x", b"1", {}, using=on_mysql)
            threads.run(lambda: write("x", b"2", {}, using=on_mysql)).result(WITHIN)
            seen = threads.run(said, on_mysql)
            until(
                lambda: execute(on_mysql, "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"),
                "somebody waits",
            )
            assert not seen.done()
        assert seen.result(WITHIN) == [b"1", b"2"]


def test_channels_that_differ_in_their_case_are_two_on_mysql(on_mysql: str) -> None:
    """Its own way to compare text says otherwise."""
    for channel in ("room:a", "room:A"):
        write(channel, b"1", {"idempotency_key": "same"}, using=on_mysql)
    assert [row.channel for row in rows(on_mysql)] == ["room:a", "room:A"]
    assert len(said(on_mysql, "room:a")) == 1
