"""`manage.py prove_dashboards`: each query of the dashboards on a real Prometheus under load; faults move them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flotilla._extras import MissingExtra


class Command(BaseCommand):
    """Runs an installation of its own, prints each panel's values, and fails when one has none."""

    help = "Runs every dashboard query on a real Prometheus under load and prints the values."
    requires_system_checks = []  # what is proven runs in an installation of its own

    def handle(self, **_: Any) -> None:
        """Prove, or say what is not shown."""
        from flotilla.ops.drill.processes import DrillFailed

        try:
            from flotilla.ops.drill.dashboard_check import prove

            prove(lambda line: self.stdout.write(line))
        except (DrillFailed, MissingExtra) as error:
            raise CommandError(str(error)) from None
