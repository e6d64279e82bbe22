"""The project as a Django app, so that its system checks are found."""

from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.backends.signals import connection_created

from flotilla.realtime.server.private_files import private_files


class ProjectConfig(AppConfig):
    """Registers the checks of the environment."""

    name = "project"
    verbose_name = "Project"

    def ready(self) -> None:
        """Import what registers itself."""
        from project import checks  # noqa: F401

        connection_created.connect(_keep_private, dispatch_uid="project")


def _keep_private(connection: Any, **_: Any) -> None:
    """SQLite makes its file with the rights that the umask leaves, and those beside it with the file's."""
    if connection.vendor == "sqlite":
        _mend_database(str(connection.settings_dict["NAME"]))


@cache
def _mend_database(name: str) -> None:
    if Path(name).absolute().is_relative_to(settings.VAR_DIR.absolute()):
        private_files(*(Path(f"{name}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")))
