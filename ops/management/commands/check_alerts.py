"""`manage.py check_alerts`: is this installation's alerting whole, what fires now; `--drill` breaks one of its own.

Exit status 0: all is well. 1: something is missing or wrong, or a drill failed. 2: all is whole, and an alert fires.
"""

import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flotilla import monitoring
from flotilla._extras import MissingExtra
from flotilla.ops.alert_check import Finding, check

RULES = Path(monitoring.__file__).parent / "prometheus" / "rules"


class Command(BaseCommand):
    """Checks a running Prometheus and Alertmanager, or drills."""

    help = "Checks rules, targets and alerts of a running Prometheus and Alertmanager; --drill times an alert."

    requires_system_checks = []  # what is checked here is another installation

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Addresses and what to do."""
        parser.add_argument(
            "--prometheus", default="http://127.0.0.1:9090", help="address of Prometheus [http://127.0.0.1:9090]"
        )
        parser.add_argument(
            "--alertmanager", default="http://127.0.0.1:9093", help="address of Alertmanager [http://127.0.0.1:9093]"
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="findings as JSON")
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
            self.stdout.write(json.dumps([finding.as_dict() for finding in findings], indent=2))
        else:
            for finding in findings:
                self.stdout.write(self._line(finding))
        if any(finding.state == "fault" for finding in findings):
            raise CommandError("the alerting does not work completely", returncode=1)
        if any(finding.state == "fires" for finding in findings):
            raise CommandError("an alert is firing", returncode=2)

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
            raise CommandError(f"no drill {unknown[0]!r}; there are {', '.join(BY_NAME)}, short and all")
        say = self.stderr.write if as_json else self.stdout.write
        try:
            results = drill_all(wanted, lambda line: say(line))
        except DrillFailed as error:
            raise CommandError(f"the drill failed: {error}") from None
        if as_json:
            self.stdout.write(json.dumps([result.as_dict() for result in results]))
        for result in results if not as_json else ():
            self.stdout.write(self.style.SUCCESS(f"{result.name}: {result}"))
