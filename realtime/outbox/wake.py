"""The local signal that rows were committed, and what is known of a transaction that writes some.

`written` is sent once for a transaction, after its commit, with the alias of the database as `using`. It wakes a relay
in this process; relays elsewhere are woken by the database (PostgreSQL's NOTIFY), or look by themselves.
"""

import uuid
from typing import Any
from weakref import WeakKeyDictionary

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal

written = Signal()
"""Sent after a commit with `using`: rows wait to be sent there. Receivers must be quick; what they raise is logged."""


class Writing:
    """A transaction that has written rows: the hook of its commit."""

    def __init__(self, using: str, place: int) -> None:
        self.name = uuid.uuid4().hex
        """What tells its rows from those of others where the database does not (column `transaction`)."""
        self.changes = False
        """Whether it has written changes of live models."""
        self.committed = False
        self._using = using
        self._place = place

    def __call__(self) -> None:
        """Its commit."""
        self.committed = True
        written.send_robust(sender=Writing, using=self._using)

    def waits_in(self, hooks: list[tuple[Any, ...]]) -> bool:
        """Whether it is among a connection's hooks, as Django keeps them: (savepoints, hook, robust). A rollback, also
        to a savepoint, takes away the hooks that came since."""
        if self._place < len(hooks) and hooks[self._place][1] is self:
            return True
        return any(hook is self for _, hook, *_ in hooks)


_writings: WeakKeyDictionary[BaseDatabaseWrapper, Writing] = WeakKeyDictionary()


def writing(using: str | None) -> Writing:
    """That of the current transaction of `using`, which begins with its first call. Only inside of a transaction."""
    connection = transaction.get_connection(using)
    hooks: list[tuple[Any, ...]] = connection.run_on_commit
    known = _writings.get(connection)
    if known is None or known.committed or not known.waits_in(hooks):
        known = _writings[connection] = Writing(connection.alias, len(hooks))
        transaction.on_commit(known, using, robust=True)
    return known
