"""`manage.py instances [TEXT]`: the instances that are alive, as each says of itself."""

from argparse import ArgumentParser
from typing import Any

from flotilla.realtime.api.inspection import instances
from flotilla.realtime.management.commands._look import Listing, LookCommand


class Command(LookCommand):
    """Show instances."""

    help = "Show the instances that are alive, with the figures of their last lease renewal (two seconds old at most)."
    rows_are = "instances"
    examples = (("", "all that are alive"), ("web-1", "those whose name begins so"))
    shape = {
        "total": (),
        "instances": (
            *("incarnation", "name", "version", "host", "pid", "process_identity", "uptime", "left", "draining"),
            *("num_clients", "num_users", "num_channels", "num_subs", "admission_rate", "admission_peak"),
        ),
        "next": (),
    }
    columns = (
        ("INSTANCE", lambda row: row["name"]),
        ("STATE", lambda row: "draining" if row["draining"] else "serving"),
        ("UP", lambda row: _duration(row["uptime"])),
        ("LEASE LEFT", lambda row: f"{row['left']:.1f} s"),
        ("CONNECTIONS", lambda row: row["num_clients"]),
        ("USERS", lambda row: row["num_users"]),
        ("CHANNELS", lambda row: row["num_channels"]),
        ("VERSION", lambda row: row["version"]),
        ("HOST, PROCESS", lambda row: f"{row['host']}, {row['pid']}"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("text", nargs="?", default="", help="only those whose name begins so")
        super().add_arguments(parser)

    def look(self, **options: Any) -> Listing:
        page = instances(text=options["text"], after=options["after"], limit=options["limit"])
        count = page.total
        return Listing(page.rows, {"total": count}, f"{count} instance{'' if count == 1 else 's'}", page.next)


def _duration(seconds: int) -> str:
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    clock = f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock
