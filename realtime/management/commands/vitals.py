"""`manage.py vitals`: how each instance is, and which of them is ill, and why.

Exit status 0: all are well. 1: one is ill, or does not answer.
"""

from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import Status
from flotilla.realtime.api.diagnosis import Asked, vitals
from flotilla.realtime.management.commands._diagnosis import DiagnosisCommand, bytes_shown
from flotilla.realtime.management.commands._shell import ClusterCommand, told
from flotilla.realtime.management.commands._table import printable

LATE = 250.0  # ms an event loop may be late
SLOW_REDIS = 50.0  # ms of a Redis' round trip at p99
FULL = 0.95  # of a core
WAITING = 50_000_000  # bytes that clients have not taken

FIGURES = ("lag", "cpu", "redis", "delivery", "errors", "waiting", "connections", "admission_waiting", "failing")


class Command(DiagnosisCommand):
    """Show who is ill."""

    help = (
        "Show how each instance is, measured for some seconds: event loop, Redis as it sees it, deliveries, errors. "
        "Ends with status 1 when one of them is ill or does not answer, and says why."
    )
    examples = (("", "which instance is ill, and why"), ("--seconds 10 --json", "ten seconds, for a program"))
    statuses = {**ClusterCommand.statuses, Status.NOT_DONE: "an instance is ill, or does not answer"}
    shape = {
        "answered": (),
        "instances": (),
        "rows": ("name", "incarnation", "host", "pid", "state", "ill", "left", *FIGURES, "redis_given_up", "draining"),
    }

    def handle(self, *args: Any, **options: Any) -> None:
        asked = told(lambda: vitals(seconds=options["seconds"], within=options["within"]))
        rows = [_row(asked, name, about) for name, about in sorted(asked.living.items())]
        if options["as_json"]:
            self.tell({**asked.counts, "rows": rows})
        else:
            self.show(
                (
                    "INSTANCE",
                    "STATE",
                    "LOOP LATE",
                    "CPU",
                    "REDIS p99",
                    "DELIVERY p99",
                    "ERRORS/s",
                    "WAITING",
                    "CLIENTS",
                ),
                [_cells(row) for row in rows],
            )
        ill = [f"{printable(row['name'])}: {'; '.join(row['ill'])}" for row in rows if row["ill"]]
        if ill:
            raise CommandError(f"ill: {' | '.join(ill)}.")
        if not rows:
            raise CommandError("no instance is alive.")
        if not options["as_json"]:
            self.stdout.write(self.style.SUCCESS(f"all {len(rows)} are well"))


def _row(asked: Asked, incarnation: str, about: dict[str, Any]) -> dict[str, Any]:
    answer = asked.answers.get(incarnation)
    left = asked.left.get(incarnation, 0.0)
    names = ("name", "host", "pid")
    row: dict[str, Any] = {"incarnation": incarnation, "left": round(left, 1), **{name: about[name] for name in names}}
    if answer is None:
        since = "its lease has run out" if not left else f"its lease ends in {left:.1f} s"
        return row | {"state": "silent", "ill": [f"does not answer ({since})"]}
    ill = list(_complaints(answer))
    return {**row, **answer, "ill": ill, "state": "ill" if ill else "draining" if answer["draining"] else "well"}


def _complaints(answer: dict[str, Any]) -> Any:
    late = (answer["lag"] or 0.0) > LATE
    if late:
        yield f"its event loop was late by {answer['lag']:.0f} ms: something blocks it"
    failing = [name for name in answer["failing"] if name != "accepting"]
    if failing:
        yield f"not ready: {', '.join(failing)}"
    for index, (trip, given_up) in enumerate(zip(answer["redis"], answer["redis_given_up"], strict=True)):
        if given_up:
            yield f"{given_up} calls of Redis {index} were given up"
        elif (trip or 0.0) > SLOW_REDIS and not late:
            yield f"Redis {index} takes {trip:.0f} ms: see `redis_health`"
    if answer["cpu"] > FULL:
        yield f"it uses {answer['cpu']:.2f} of a core"
    if answer["waiting"] > WAITING:
        yield f"{bytes_shown(answer['waiting'])} wait for its clients: see `top --by waiting`"


def _cells(row: dict[str, Any]) -> list[object]:
    if row["state"] == "silent":
        return [row["name"], "silent", *["-"] * 7]
    trips = [trip for trip in row["redis"] if trip is not None]
    return [
        row["name"],
        row["state"],
        _time(row["lag"]),
        f"{row['cpu']:.2f}",
        _time(max(trips, default=None)),
        _time(row["delivery"]),
        row["errors"],
        bytes_shown(row["waiting"]),
        row["connections"],
    ]


def _time(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.1f} ms"
