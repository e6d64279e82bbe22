"""One change of a live model, as tests write it."""

from flotilla.realtime.outbox.rows import Change, Operation, write_changes


def write_change(
    channel: str, key: str, operation: Operation, *, live: str, body: bytes | None, using: str | None = None
) -> None:
    write_changes([Change(channel, key, operation, live, body)], using=using)
