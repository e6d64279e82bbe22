"""`manage.py prove_dashboards`: each query of the dashboards on a real Prometheus under load; faults move them."""

from typing import Any

from django.core.management.base import CommandError

from flotilla._extras import MissingExtra
from flotilla.command_line import OurCommand, Status


class Command(OurCommand):
    """Runs an installation of its own, prints each panel's values, and fails when one has none."""

    help = "Runs every dashboard query on a real Prometheus under load and prints the values."
    requires_system_checks = []  # what is proven runs in an installation of its own
    examples = (("", "three minutes, with Redis, Prometheus and Alertmanager on free ports"),)
    statuses = {Status.NOT_DONE: "a query gives nothing, a panel does not show a fault, or a program is missing"}
    shape = {"queries": ("dashboard", "panel", "query", "values")}

    def handle(self, *, as_json: bool, **_: Any) -> None:
        """Prove, or say what is not shown."""
        from flotilla.ops.drill.processes import DrillFailed

        out = self.stderr if as_json else self.stdout
        try:
            from flotilla.ops.drill.dashboard_check import prove

            shown = prove(lambda line: out.write(line))
        except (DrillFailed, MissingExtra) as error:
            raise CommandError(str(error)) from None
        if as_json:
            names = self.shape["queries"]
            self.tell({"queries": [{name: getattr(one, name) for name in names} for one in shown]})
