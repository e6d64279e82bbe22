"""Migrations for databases that knew the apps under their former labels, `realtime` and not `flotilla_realtime`.

What refers to an app's models does so by content types: permissions and whom they were given, the admin's log. They are
renamed where they stand, so all of it stays. A former label that is another app's today is that app's: nothing of it
is touched.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import apps as installed
from django.db import connections, migrations
from django.db.migrations.recorder import MigrationRecorder


class CreateModelUnlessThere(migrations.CreateModel):
    """Creates a model's table, unless the app made it under its former label."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = to_state.apps.get_model(app_label, self.name)._meta.db_table
        if table not in schema_editor.connection.introspection.table_names():
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class TakeOver(migrations.RunPython):
    """Gives the models of a former label, by their lower-case names, and its migrations' records to the present one."""

    def __init__(self, former: str, present: str, models: Sequence[str], records: Sequence[str] = ()) -> None:
        def forwards(apps: Any, schema_editor: Any) -> None:
            if not _is_anothers(former):
                _rename(apps, schema_editor, former, present, models)
                _forget(schema_editor, former, records)

        def backwards(apps: Any, schema_editor: Any) -> None:
            if not _is_anothers(former):
                _rename(apps, schema_editor, present, former, models)
                _remember(schema_editor, former, records)

        super().__init__(forwards, backwards)


def _is_anothers(label: str) -> bool:
    return any(config.label == label for config in installed.get_app_configs())


def _rename(apps: Any, schema_editor: Any, before: str, after: str, models: Sequence[str]) -> None:
    known = apps.get_model("contenttypes", "ContentType").objects.using(schema_editor.connection.alias)
    for content_type in known.filter(app_label=before, model__in=models):
        content_type.app_label = after
        content_type.save(update_fields=["app_label"])


def _forget(schema_editor: Any, label: str, names: Sequence[str]) -> None:
    recorder = MigrationRecorder(connections[schema_editor.connection.alias])
    for name in names:
        recorder.record_unapplied(label, name)


def _remember(schema_editor: Any, label: str, names: Sequence[str]) -> None:
    recorder = MigrationRecorder(connections[schema_editor.connection.alias])
    for name in names:
        recorder.record_applied(label, name)
