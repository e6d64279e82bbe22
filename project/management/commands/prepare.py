"""`manage.py prepare`: what is done once, before the instances of a new version start.

Makes the secrets whose files the environment names and that are not there yet, and brings the database up to date. It
may be repeated, and may run while older instances serve; a secret that exists is never replaced.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from flotilla.command_line import OurCommand
from flotilla.realtime.server.private_files import private_tree
from project.kept_secrets import kept_secret

SECRETS = ("DJANGO_SECRET_KEY", "REALTIME_TOKEN_SECRET", "REALTIME_API_KEYS")
ACCEPTED = ("DJANGO_SECRET_KEY_FALLBACKS", "REALTIME_TOKEN_SECRET_FALLBACKS")  # empty but while a secret is replaced


class Command(OurCommand):
    """Makes secrets and migrates."""

    help = "Makes the missing files of DJANGO_SECRET_KEY_FILE and its like, and migrates the database."
    requires_system_checks = []  # they would miss the secrets
    examples = (("", "before each start of a new version"),)
    shape = {"made": ("name", "path"), "migrated": ()}

    def handle(self, *, as_json: bool, **_: Any) -> None:
        """Do both."""
        made = self._make_secrets(as_json)
        private_tree(settings.VAR_DIR)  # where SQLite is, unless DATABASE_URL says otherwise
        before = _applied()
        call_command("migrate", interactive=False, stdout=self.stderr if as_json else self.stdout)
        if as_json:
            self.tell({"made": made, "migrated": sorted(".".join(one) for one in _applied() - before)})

    def _make_secrets(self, quiet: bool) -> list[dict[str, str]]:
        """The files that were made."""
        made = []
        values = settings.ENVIRONMENT.values
        for name in SECRETS:
            path = values.get(f"{name}_FILE", "").strip()
            if path and not values.get(name, "").strip() and not Path(path).exists():
                kept_secret(Path(path))
                made.append({"name": name, "path": path})
                if not quiet:
                    self.stdout.write(f"made {path}, the value of {name}")
        for name in ACCEPTED:
            if path := values.get(f"{name}_FILE", "").strip():
                Path(path).touch(mode=0o600)
        return made


def _applied() -> set[tuple[str, str]]:
    """The migrations that the database has."""
    return set(MigrationRecorder(connection).applied_migrations())
