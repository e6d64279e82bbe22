"""`manage.py loadtest`: a load profile on a cluster of its own, or on a target; does the SLO hold?

Exit status 0: everything holds. 1: something does not, or there was nothing to judge. 3: the target does not answer.
4: not measured, as this machine was too busy. `--compare` judges two reports.
"""

import json
import os
from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import OurCommand, Status, away, misused, whole_number
from flotilla.ops.drill.processes import DrillFailed, require_service
from flotilla.ops.load import slo
from flotilla.ops.load.artillery import PROFILES, extent, install
from flotilla.ops.load.comparison import compare
from flotilla.ops.load.destinations import (
    NoAnswer,
    Place,
    control,
    new_folder,
    own_cluster,
    require_answer,
    to_target,
)
from flotilla.ops.load.figures import NotAReport
from flotilla.ops.load.report_page import rows
from flotilla.ops.load.run import NOT_MEASURED, Result, repeated, run
from flotilla.ratelimit.algorithms.rates import MEND, Rate, parse_rate
from flotilla.realtime.server.private_files import UMASK


class Command(OurCommand):
    """Runs Artillery and judges what came of it."""

    help = "Runs a load profile (Artillery) against a cluster of its own or a target, and says whether the SLO holds."
    requires_system_checks = []  # what is loaded is another installation
    examples = (
        ("--profile smoke", "a minute, on a cluster of its own"),
        ("--target wss://staging.example.com --duration 60", "an installation that runs somewhere"),
        ("--compare before.json after.json", "two reports: is the second worse by more than noise?"),
    )
    statuses = {
        Status.NOT_DONE: "the SLO does not hold, one of two reports is worse, or there was nothing to judge",
        Status.AWAY: "the target does not answer: nothing was installed or loaded",
        Status.NOT_MEASURED: "not measured: this machine was too busy to tell",
    }
    shape = {
        "profile": (),
        "conclusion": (),
        "verdicts": ("name", "passed", "measured", "found"),
        "server": (),
        "report": (),
        "changes": ("name", "before", "after", "worse"),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, where, how long."""
        parser.add_argument("--profile", default="smoke", choices=PROFILES, help="what the clients do [smoke]")
        parser.add_argument(
            "--target", default="", help="ws://host:port of a running installation [a cluster of its own]"
        )
        parser.add_argument(
            "--control", action="store_true", help="run against an echo server: what the generator itself adds"
        )
        lasts, instances, attempts = whole_number(10, 86_400), whole_number(1, 64), whole_number(1, 100)
        parser.add_argument("--duration", type=lasts, help="seconds until all clients leave [as the profile says]")
        parser.add_argument("--instances", type=instances, default=2, help="instances of a cluster of its own [2]")
        parser.add_argument("--attempts", type=attempts, default=1, help="most runs, if only times fail [1]")
        parser.add_argument(
            "--limit-publish", default="", help="the target's limit of publications for each user, to be checked"
        )
        parser.add_argument(
            "--limit-http", default="", help="the target's limit of requests for each X-Load-Client, to be checked"
        )
        parser.add_argument("--page", default="", help="path of the HTTP requests to a target [/health/ready]")
        parser.add_argument("--channels", default="", help="beginning of the names of the target's channels [load-]")
        parser.add_argument(
            "--prometheus", default="", help="address of a Prometheus that scrapes the target, to compare p95"
        )
        compared = "compare two report.json, and fail on a regression beyond noise"
        parser.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"), type=Path, help=compared)

    def handle(self, *, compare: list[Path] | None, **options: Any) -> None:
        """Load, or compare."""
        self._quiet = options.pop("as_json")
        if compare:
            self._compare(*compare)
            return
        os.umask(UMASK)  # the reports are in var/
        try:
            result = self._load(**options)
        except NoAnswer as error:
            raise away(str(error)) from None
        except ValueError as error:
            raise misused(str(error)) from None
        except DrillFailed as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("ended before there were results to judge", returncode=130) from None
        self._show(options["profile"], result)
        if result.conclusion == NOT_MEASURED:
            late = f"{result.figures.late.p95:.0f} ms at p95"
            raise CommandError(
                f"not measured: the generator itself was late by {late}, as this machine was too busy. Try again when "
                "it is idle, or with --attempts 3",
                returncode=Status.NOT_MEASURED,
            )
        if not result.passed:
            raise CommandError("the SLO does not hold", returncode=Status.NOT_DONE)

    def _load(self, *, profile: str, duration: int | None, attempts: int, prometheus: str, **options: Any) -> Result:
        slo.load(profile)  # what has nothing to hold is no profile
        self._say(f"{profile}: {extent(profile, duration)}")
        changed: dict[str, int] = {} if duration is None else {"stay": duration}
        where = self._place(**options)
        install(self._say)
        with where as place:
            once = lambda: run(profile, place, new_folder(profile), self._say, changed, prometheus)  # noqa: E731
            return repeated(attempts, once, self._say)

    def _place(self, *, target: str, instances: int, **options: Any) -> AbstractContextManager[Place]:
        changed = {
            name: options[option] for name, option in (("page", "page"), ("prefix", "channels")) if options[option]
        }
        promised = {
            policy: _rate(options[f"limit_{policy}"]) for policy in ("publish", "http") if options[f"limit_{policy}"]
        }
        if target:
            secret = os.environ.get("REALTIME_TOKEN_SECRET", "")
            if "publish" in promised and not secret:
                raise ValueError("--limit-publish counts users: give the target's REALTIME_TOKEN_SECRET")
            place = to_target(target, secret, promised, changed)
            require_answer(place, target)
            return nullcontext(place)
        if promised or changed:
            raise ValueError("--limit-publish, --limit-http, --page and --channels are about a --target")
        if options["control"]:
            return control(self._say)
        try:
            require_service()  # before anything is installed for it
        except DrillFailed as error:
            raise DrillFailed(f"{error}, or load a running installation with --target") from None
        return own_cluster(instances, self._say)

    def _show(self, profile: str, result: Result) -> None:
        if self._quiet:
            judged = [{name: getattr(one, name) for name in self.shape["verdicts"]} for one in result.verdicts]
            report = str(result.folder / "report.json")
            told = {"profile": profile, "conclusion": result.conclusion, "verdicts": judged}
            self.tell(told | {"server": result.server or None, "report": report})
            return
        for name, *cells in rows(result.figures):
            self._say(f"{name:<16}" + "".join(f"{cell:>10}" for cell in cells))
        for verdict in result.verdicts:
            style = {"PASS": self.style.SUCCESS, "FAIL": self.style.ERROR}.get(verdict.word, self.style.WARNING)
            self._say(style(str(verdict)))
        if result.server:
            self._say(result.server)
        if result.late:
            self._say(self.style.WARNING("the generator itself was late: these times are partly this machine's own"))
        self._say(f"report: {result.folder / 'report.html'}")

    def _compare(self, first: Path, second: Path) -> None:
        try:
            changes = compare(json.loads(first.read_text()), json.loads(second.read_text()))
        except (OSError, ValueError, NotAReport) as error:
            raise CommandError(f"cannot compare: {error}") from None
        if self._quiet:
            self.tell({"changes": [{name: getattr(one, name) for name in self.shape["changes"]} for one in changes]})
        else:
            for change in changes:
                self._say(str(change))
        if any(change.worse for change in changes):
            raise CommandError("worse by more than noise", returncode=1)

    def _say(self, line: str) -> None:
        """Tell a person what goes on: beside the document, where one is printed."""
        out = self.stderr if self._quiet else self.stdout
        out.write(line)
        out.flush()


def _rate(text: str) -> Rate:
    try:
        return parse_rate(text)
    except ValueError as error:
        raise ValueError(f"{error}. {MEND}") from None
