"""`manage.py top [--by FIGURE]`: who floods, who is slow, whose commands fail, which channel is hot."""

from argparse import ArgumentParser
from typing import Any

from flotilla.command_line import misused, whole_number
from flotilla.realtime.api.diagnosis import Asked, hot_channels, top
from flotilla.realtime.management.commands._diagnosis import DiagnosisCommand, bytes_shown
from flotilla.realtime.management.commands._look import named_rows, person
from flotilla.realtime.management.commands._shell import told
from flotilla.realtime.node.operations import hot
from flotilla.realtime.node.operations.top import FIGURES, TOGETHER


class Command(DiagnosisCommand):
    """Show the first by a figure."""

    help = (
        "Show which connections send most or leave most unread, or which channels are published into most, measured "
        "for some seconds by every instance."
    )
    examples = (
        ("", "who floods: the connections that send most messages"),
        ("--by messages --per address", "the same by address; also --per user"),
        ("--by waiting", "who is slow: bytes sent to clients that they have not taken"),
        ("--by errors --per user", "whose commands are answered with errors, denials among them"),
        ("--by deliveries", "which channel is hot: publications times subscribers"),
    )
    shape = {
        "by": (),
        "per": (),
        "seconds": (),
        "answered": (),
        "instances": (),
        "rows": (
            *("client", "user", "username", "address", "instance", "connections"),
            *FIGURES,
            *("channel", "subscribers"),
            *hot.FIGURES,
        ),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--by",
            choices=(*FIGURES, *hot.FIGURES),
            default="messages",
            help="of connections what they send a second (messages, bytes), their errors a second, or the bytes that "
            "wait for them; of channels publications, deliveries or outgoing bytes a second (%(default)s)",
        )
        parser.add_argument("--per", choices=TOGETHER, default="", help="count connections together [connection]")
        parser.add_argument("--limit", type=whole_number(1, 100), default=10, help="most rows, 1 to 100 (%(default)s)")
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by, per = options["by"], options["per"]
        if by in hot.FIGURES and per:
            raise misused(f"--per counts connections together, and --by {by} is about channels.")
        measure = {name: options[name] for name in ("limit", "seconds", "within")}
        if by in hot.FIGURES:
            per = "channel"
            rows, asked = told(lambda: hot_channels(by, **measure))
        else:
            per = per or "connection"
            rows, asked = told(lambda: top(by, per, **measure))
            if per != "address":
                named_rows(self, rows)
        if options["as_json"]:
            self.tell({"by": by, "per": per, "seconds": options["seconds"], **asked.counts, "rows": rows})
        else:
            self._show(per, rows, asked)
        self.judge_silence(asked)

    def _show(self, per: str, rows: list[dict[str, Any]], asked: Asked) -> None:
        if per == "channel":
            self.show(
                ("CHANNEL", "SUBSCRIBERS", "PUBLICATIONS/s", "DELIVERIES/s", "OUTGOING/s"),
                [
                    (
                        *(row["channel"], row["subscribers"]),
                        *(f"{row[name]:.1f}" for name in hot.FIGURES[:2]),
                        bytes_shown(row["outgoing"]),
                    )
                    for row in rows
                ],
            )
        else:
            heads = (*_heads(per), "MESSAGES/s", "BYTES/s", "ERRORS/s", "WAITING")
            self.show(heads, [(*_who(per, row), *_figures(row)) for row in rows])
        nothing = "" if rows else "nothing to show; "
        self.stdout.write(f"{nothing}{asked.counts['answered']} of {asked.counts['instances']} instances answered")


def _heads(per: str) -> tuple[str, ...]:
    return ("CONNECTION", "USER", "ADDRESS", "INSTANCE") if per == "connection" else (per.upper(), "CONNECTIONS")


def _who(per: str, row: dict[str, Any]) -> list[object]:
    if per == "connection":
        return [row["client"], person(row), row["address"], row["instance"]]
    return [person(row) if per == "user" else row["address"], row["connections"]]


def _figures(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['messages']:.1f}",
        bytes_shown(row["bytes"]),
        f"{row['errors']:.1f}",
        bytes_shown(row["waiting"]),
    ]
