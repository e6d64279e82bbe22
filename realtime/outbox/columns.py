"""Defaults of the outbox's columns that every database says in its own way, so that a row written in SQL alone, with a
channel and a body, is a whole one."""

from typing import Any

from django.db.models import CharField, Func, JSONField


class CurrentTransaction(Func):
    """What tells a transaction from all others, where the database knows that; else ""."""

    template = "''"
    output_field = CharField(max_length=40)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Its number, which a savepoint shares with the transaction around it."""
        return self.as_sql(compiler, connection, template="(pg_current_xact_id()::text)", **context)


class NoKeywords(Func):
    """An empty JSON object."""

    template = "'{}'"
    output_field = JSONField()

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """As an expression, which MySQL asks for."""
        return self.as_sql(compiler, connection, template="('{}')", **context)
