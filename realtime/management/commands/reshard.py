"""`manage.py reshard --to ADDRESSES [--prepare | --switch | --abort]`: more or fewer Redises while the service runs."""

import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import MEANINGS, Status, misused, seconds
from flotilla.realtime.api.resharding import Refused, Resharding, Seen
from flotilla.realtime.management.commands._shell import ClusterCommand, told
from flotilla.store.address import MEMORY, WrongAddress, parse
from flotilla.store.conf import get_store_config
from flotilla.store.urls import checked_urls, of_cluster

ENDS_WITHIN = 40.0  # seconds for instances to send their clients away; longer than DRAIN_DEADLINE
MOST_WITHIN = 3600.0
BEGINS_WITHIN = 30.0
LOOK_EVERY = 0.1


class Command(ClusterCommand):
    """One step, or a look."""

    help = (
        "Go over to another list of Redises: shows how far that is, or does a step. At any time all processes use the "
        "old list, or none does, or all use the new one. docs/SCALE_OUT.md#more-or-fewer-redises has the procedure."
    )
    examples = (
        ("", "which layout the Redises have, who uses it, and who waits for another"),
        ("--to redis://a,redis://b --prepare", "hold the Redises that are new until the switch"),
        ("--to redis://a,redis://b --switch", "instances with the new REDIS_URL wait: go over to it"),
        (
            "--to redis://a,redis://b --switch --without-waiting",
            "the same where instances restart with the new REDIS_URL",
        ),
        ("--to redis://a,redis://b --abort", "go back, as long as that is possible"),
    )
    statuses = {
        Status.NOT_DONE: "the step may not be done now, or nobody has begun the new layout yet: a sentence says which",
        Status.AWAY: MEANINGS[Status.AWAY],
    }
    shape = {"step": (), "moved": (), "redis": ("old", "new", "of", "state", "users", "waiting")}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="old", metavar="ADDRESSES", help="the list that is in use [REDIS_URL]")
        parser.add_argument("--to", dest="new", metavar="ADDRESSES", help="the new list, as REDIS_URL will have it")
        steps = parser.add_mutually_exclusive_group()
        for step, text in (
            ("prepare", "hold the Redises that are new: instances with the new REDIS_URL may be started, and wait"),
            ("switch", "end the old layout, move what has another place, and let the new one begin"),
            ("abort", "take back what was begun, as long as nothing was deleted in its old place"),
        ):
            steps.add_argument(f"--{step}", dest="step", action="store_const", const=step, help=text)
        parser.add_argument(
            "--without-waiting", action="store_true", help="switch although no process waits with the new REDIS_URL"
        )
        within = seconds(0.1, MOST_WITHIN)
        parser.add_argument(
            "--within", type=within, default=ENDS_WITHIN, help="seconds for instances to end in order [%(default)g]"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        old, new = self._lists(options)
        try:
            work = told(lambda: Resharding(old, new, self._say(options)))
            try:
                moved = told(lambda: self._step(work, options))
                seen = told(work.look)
            finally:
                work.close()
        except Refused as error:
            raise CommandError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        if options["as_json"]:
            self.tell({"step": options["step"] or "", "moved": moved, "redis": [_row(one) for one in seen]})
        else:
            self.show_layout(seen)
        if options["step"] == "switch" and not any(one.users for one in seen if one.places[1] is not None):
            raise CommandError("Everything is in its new place, and no process has begun the new layout yet.")

    def _lists(self, options: dict[str, Any]) -> tuple[list[str], list[str]]:
        old, new = options["old"], options["new"]
        if options["step"] and not new:
            raise misused(f"--{options['step']} needs --to: the new list, as REDIS_URL will have it.")
        found = []
        for name, given in (("--from", old), ("--to", new or old)):
            try:
                urls = checked_urls(given) if given else list(get_store_config().redis_urls)
                if any(url == MEMORY or parse(url).in_process for url in urls):
                    raise misused(f"{name}: {MEMORY} is no Redis.")
            except WrongAddress as error:
                raise misused(f"{name}: {error}.") from None
            if of_cluster(urls):
                which = name if given else "REDIS_URL"
                raise misused(
                    f"{which}: a Redis Cluster moves its own slots (`redis-cli --cluster reshard`), and is no list "
                    "that could be changed: docs/SCALE_OUT.md#more-or-fewer-redises has how to go over to one, or away."
                )
            found.append(urls)
        if options["step"] and found[0] == found[1]:
            raise misused(
                "--to is the list that is in use: give the other one by --from where REDIS_URL is new already."
            )
        return found[0], found[1]

    def _say(self, options: dict[str, Any]) -> Any:
        return self.stderr.write if options["as_json"] else self.stdout.write

    def _step(self, work: Resharding, options: dict[str, Any]) -> int:
        if not options["step"]:
            return 0
        with work.alone():
            return self._step_alone(work, options)

    def _step_alone(self, work: Resharding, options: dict[str, Any]) -> int:
        step = options["step"]
        if step == "abort":
            work.abort()
        if step in ("prepare", "switch"):
            work.prepare()
        if step != "switch":
            return 0
        if not options["without_waiting"] and not _awaited(work):
            raise Refused(
                "no process waits with the new REDIS_URL: start instances with it first, or say --without-waiting "
                "where those that end now are started again with it"
            )
        work.end(options["within"])
        began = time.monotonic()
        moved = work.move()
        self._say(options)(f"{moved} keys have another place; they are there after {time.monotonic() - began:.1f} s")
        work.open()
        gives_up = time.monotonic() + BEGINS_WITHIN
        while not any(one.users for one in work.look() if one.places[1] is not None) and time.monotonic() < gives_up:
            time.sleep(LOOK_EVERY)
        return moved

    def show_layout(self, seen: list[Seen]) -> None:
        """A table."""
        for one in seen:
            old, new = one.places
            place = f"{'new' if old is None else f'Redis {old}'}{'' if new == old else f' → {_number(new)}'}"
            waiting = ", ".join(f"{count} as {wanted}" for wanted, count in sorted(one.waiting.items())) or "none"
            of = f"one of {one.of}" if one.of else "no layout yet"
            state = f", {one.state}" if one.state else ""
            self.stdout.write(f"{place}: {of}{state}; {one.users} processes use it, waiting: {waiting}")


def _number(new: int | None) -> str:
    return "not used" if new is None else f"Redis {new}"


def _row(one: Seen) -> dict[str, Any]:
    row = asdict(one)
    old, new = row.pop("places")
    return {"old": old, "new": new} | row


def _awaited(work: Resharding) -> bool:
    wanted = f"/{len(work.new)}"
    return any(name.endswith(wanted) for one in work.look() for name in one.waiting)
