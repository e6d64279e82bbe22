"""`manage.py check_alerts`: is this installation's alerting whole, what fires now; `--drill` breaks one of its own.

Exit status 0: all is well. 1: something is missing or wrong, or a drill failed. 5: all is whole, and an alert fires.
"""

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from flotilla import monitoring
from flotilla._extras import MissingExtra
from flotilla.command_line import OurCommand, Status, misused
from flotilla.ops.alert_check import Finding, check

RULES = Path(monitoring.__file__).parent / "prometheus" / "rules"


class Command(OurCommand):
    """Checks a running Prometheus and Alertmanager, or drills."""

    help = "Checks rules, targets and alerts of a running Prometheus and Alertmanager; --drill times an alert."

    requires_system_checks = []  # what is checked here is another installation
    examples = (
        ("", "a Prometheus and an Alertmanager on this machine"),
        ("--prometheus http://prometheus:9090 --alertmanager http://alertmanager:9093 --json", "others"),
        ("--drill readiness_down", "break a cluster made for it, and time the alert"),
    )
    statuses = {
        Status.NOT_DONE: "something is missing or wrong, or a drill failed",
        Status.FIRES: "the alerting is whole, and an alert fires",
    }
    shape = {
        "findings": ("state", "what", "text"),
        "drills": ("drill", "notified", "resolved"),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Addresses and what to do."""
        parser.add_argument(
            "--prometheus", default="http://127.0.0.1:9090", help="address of Prometheus [http://127.0.0.1:9090]"
        )
        parser.add_argument(
            "--alertmanager", default="http://127.0.0.1:9093", help="address of Alertmanager [http://127.0.0.1:9093]"
        )
        drills = "one or more names, `short` or `all`: break a cluster made for it and time the alert"
        parser.add_argument("--drill", nargs="+", metavar="NAME", help=drills)

    def handle(self, *, prometheus: str, alertmanager: str, as_json: bool, drill: list[str] | None, **_: Any) -> None:
        """Check, or drill."""
        if drill:
            self._drill(drill, as_json)
            return
        expected = {name for file in RULES.glob("*.yml") for name in re.findall(r"- alert: (\w+)", file.read_text())}
        findings = check(prometheus, alertmanager, expected)
        if as_json:
            self.tell({"findings": [finding.as_dict() for finding in findings]})
        else:
            for finding in findings:
                self.stdout.write(self._line(finding))
        if any(finding.state == "fault" for finding in findings):
            raise CommandError("the alerting does not work completely", returncode=Status.NOT_DONE)
        if any(finding.state == "fires" for finding in findings):
            raise CommandError("an alert is firing", returncode=Status.FIRES)

    def _line(self, finding: Finding) -> str:
        style = {"ok": self.style.SUCCESS, "fault": self.style.ERROR, "fires": self.style.WARNING}
        return f"{style.get(finding.state, str)(f'{finding.state:<6}')} {finding.what:<14} {finding.text}"

    def _drill(self, names: list[str], as_json: bool) -> None:
        from flotilla.ops.drill.processes import DrillFailed

        try:
            from flotilla.ops.drill.session import BY_NAME, SHORT, drill_all
        except MissingExtra as error:
            raise CommandError(str(error)) from None
        groups = {"all": tuple(BY_NAME), "short": SHORT}
        wanted = [name for given in names for name in groups.get(given, (given,))]
        unknown = [name for name in wanted if name not in BY_NAME]
        if unknown:
            raise misused(f"no drill {unknown[0]!r}; there are {', '.join(BY_NAME)}, short and all")
        say = self.stderr.write if as_json else self.stdout.write
        try:
            results = drill_all(wanted, lambda line: say(line))
        except DrillFailed as error:
            raise CommandError(f"the drill failed: {error}") from None
        if as_json:
            self.tell({"drills": [result.as_dict() for result in results]})
        for result in results if not as_json else ():
            self.stdout.write(self.style.SUCCESS(f"{result.name}: {result}"))
