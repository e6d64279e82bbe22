"""A migration's step in the SQL of the database it meets: triggers and indexes that Django's models cannot say.

A vendor that a step says nothing of is passed over. SQLite makes a table anew when a later migration changes a column
of it, and its triggers are lost with the old one: such a migration repeats the step behind the change.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class RunVendorSQL(Operation):
    """Statements by `connection.vendor`, run where the model `model_name` of this app has its table."""

    reduces_to_sql = True
    reversible = True

    def __init__(
        self, forwards: Mapping[str, Sequence[str]], backwards: Mapping[str, Sequence[str]], *, model_name: str
    ) -> None:
        self.forwards = forwards
        self.backwards = backwards
        self.model_name = model_name

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How the step is written in a migration."""
        given = {"forwards": self.forwards, "backwards": self.backwards, "model_name": self.model_name}
        return type(self).__qualname__, [], given

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models stay as they are."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Run the statements of this database's vendor."""
        self._run(app_label, schema_editor, self.forwards)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Undo them."""
        self._run(app_label, schema_editor, self.backwards)

    def describe(self) -> str:
        """What `migrate --plan` says."""
        return f"Triggers and indexes of {self.model_name}"

    def _run(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, statements: Mapping[str, Sequence[str]]
    ) -> None:
        connection = schema_editor.connection
        if router.allow_migrate(connection.alias, app_label, model_name=self.model_name):
            for statement in statements.get(connection.vendor, ()):
                schema_editor.execute(statement, params=None)
