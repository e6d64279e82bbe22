"""`manage.py prepare`: what is done once, before the instances of a new version start.

Makes the secrets whose files the environment names and that are not there yet, and brings the database up to date. It
may be repeated, and may run while older instances serve; a secret that exists is never replaced.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from flotilla.realtime.server.private_files import private_tree
from project.kept_secrets import kept_secret

SECRETS = ("DJANGO_SECRET_KEY", "REALTIME_TOKEN_SECRET", "REALTIME_API_KEYS")
ACCEPTED = ("DJANGO_SECRET_KEY_FALLBACKS", "REALTIME_TOKEN_SECRET_FALLBACKS")  # empty but while a secret is replaced


class Command(BaseCommand):
    """Makes secrets and migrates."""

    help = "Makes the missing files of DJANGO_SECRET_KEY_FILE and its like, and migrates the database."
    requires_system_checks = []  # they would miss the secrets

    def handle(self, **_: Any) -> None:
        """Do both."""
        values = settings.ENVIRONMENT.values
        for name in SECRETS:
            path = values.get(f"{name}_FILE", "").strip()
            if path and not values.get(name, "").strip() and not Path(path).exists():
                kept_secret(Path(path))
                self.stdout.write(f"made {path}, the value of {name}")
        for name in ACCEPTED:
            if path := values.get(f"{name}_FILE", "").strip():
                Path(path).touch(mode=0o600)
        private_tree(settings.VAR_DIR)  # where SQLite is, unless DATABASE_URL says otherwise
        call_command("migrate", interactive=False)
