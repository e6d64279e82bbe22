"""`manage.py what_if restart NAME`: what happens if an instance, or a Redis (`redis:0`), is restarted; nothing is done.

Exit status 0: nobody loses anything. 1: somebody does, or nobody else could take over.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import Status
from flotilla.realtime.api.diagnosis import Asked, stakes
from flotilla.realtime.management.commands._diagnosis import DiagnosisCommand
from flotilla.realtime.management.commands._shell import ClusterCommand, told
from flotilla.realtime.management.commands._table import printable
from flotilla.realtime.node.drain import IN_TIME, admitted_elsewhere
from flotilla.store import get_store
from flotilla.store.nodes import node_of, servers_of_sync

REDIS = "redis:"
RECONNECT = 1.0  # seconds SDKs wait at most before they come back


class Command(DiagnosisCommand):
    """Say what would happen."""

    help = (
        "Say what happens if an instance or a Redis is restarted: how many connections move where and how fast, who "
        "misses something, and who does not. Does nothing. Ends with status 1 when somebody would lose something."
    )
    examples = (
        ("restart web-1-0", "an instance, in order: SIGTERM"),
        ("restart redis:0", "the first Redis of REDIS_URL"),
    )
    statuses = {
        **ClusterCommand.statuses,
        Status.NOT_DONE: "somebody would lose something, nobody else could take over, or there is no such instance",
    }
    shape = {
        "what": (),
        "connections": (),
        "users": (),
        "visitors": (),
        "keeping": (),
        "losing": (),
        "losing_in": (),
        "others": (),
        "rate": (),
        "seconds": (),
        "says": (),
        "warnings": (),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=("restart",), help="what would be done")
        parser.add_argument("name", help="an instance, as `instances` names it, or redis:0 and so on")
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        asked = told(lambda: stakes(options["within"]))
        found = told(lambda: _redis(asked, name) if name.startswith(REDIS) else _instance(asked, name))
        if options["as_json"]:
            self.tell({"what": f"{options['action']} {name}", **found})
        else:
            for text in found["says"]:
                self.stdout.write(text)
        if found["warnings"]:
            raise CommandError(" ".join(found["warnings"]))
        if not options["as_json"]:
            self.stdout.write(self.style.SUCCESS("nobody loses anything"))


def _instance(asked: Asked, name: str) -> dict[str, Any]:
    about = next((one for one in asked.living.values() if one["name"] == name), None)
    if about is None:
        known = ", ".join(sorted(printable(one["name"]) for one in asked.living.values())) or "none"
        raise CommandError(f"There is no instance {name!r}; alive are {known}.")
    rate, others = admitted_elsewhere(asked.living.values(), about["incarnation"], about["admission_rate"])
    answer = asked.answers.get(about["incarnation"])
    if answer is None:
        return _silent(about, rate, others)
    deadline = answer["deadline"]
    seconds = min(answer["connections"] / rate, IN_TIME * deadline) if rate else IN_TIME * deadline
    warnings = list(_instance_warnings(answer, rate, others))
    says = [
        f"{name}: {answer['connections']} connections of {answer['users']} users, and {answer['visitors']} visitors, "
        f"are told to reconnect (3001), in {seconds:.1f} s; each is away for about {RECONNECT:g} s.",
        f"{others} other instances take them, {rate} a second.",
        f"{answer['keeping']} subscriptions get what they missed; {answer['losing']} do not.",
        f"The process ends within {answer['grace'] + deadline:g} s; {answer['busy']} commands are under way now.",
    ]
    numbers = {key: answer[key] for key in ("connections", "users", "visitors", "keeping", "losing", "losing_in")}
    return {**numbers, "others": others, "rate": rate, "seconds": round(seconds, 1), "says": says, "warnings": warnings}


def _instance_warnings(answer: dict[str, Any], rate: int, others: int) -> Iterator[str]:
    if not others:
        yield "No other instance lives: everybody is away until it is back."
    elif answer["connections"] > rate * IN_TIME * answer["deadline"]:
        yield f"The deadline of {answer['deadline']:g} s is too short for {answer['connections']} connections."
    if answer["losing"]:
        channels = ", ".join(map(printable, answer["losing_in"]))
        yield f"{answer['losing']} subscriptions miss what is published while they are away, in {channels}."


def _silent(about: dict[str, Any], rate: int, others: int) -> dict[str, Any]:
    """It does not answer, so it would not drain either."""
    says = [
        f"{about['name']} does not answer: of the {about['num_clients']} connections that it had, none is told to go.",
        "It is killed at the deadline of whatever stops it; its clients notice that, or their missing pongs, and come "
        f"back to {others} other instances. What history keeps is given to them.",
    ]
    warnings = ["It cannot end in order; a kill (SIGKILL) is as good, and quicker."]
    return {"connections": about["num_clients"], "users": about["num_users"], "others": others, "rate": rate} | {
        "says": says,
        "warnings": warnings,
    }


def _redis(asked: Asked, name: str) -> dict[str, Any]:
    shards = get_store().shards
    servers_of_sync(shards)  # finds out the nodes of a cluster
    index = name.removeprefix(REDIS)
    if not index.isdigit() or int(index) >= len(shards):
        raise CommandError(f"There is no {name!r}; there are {', '.join(f'{REDIS}{one.index}' for one in shards)}.")
    shard = shards[int(index)]
    lines = shard.execute_sync("INFO", "persistence").decode().splitlines()
    info = dict(one.partition(":")[::2] for one in lines)
    kept = info.get("aof_enabled") == "1"
    numbers = {
        key: sum(answer[key] for answer in asked.answers.values())
        for key in ("connections", "users", "visitors", "keeping", "losing")
    }
    node = node_of(shard)
    together = [str(one.index) for one in shards if node and node_of(one) == node] or [index]
    says = [
        *(
            [f"The node {node} of the cluster has Redis {', '.join(together)}, and is meant with all of them."]
            * bool(node)
        ),
        f"{numbers['connections']} connections stay. Until it is back, commands are answered with error 100 "
        "(temporary), and what a request publishes is lost (docs/PUBLISHING.md).",
        "Then all instances compare what they know, 3 s at most, before anything is published or read."
        + (" Leases are here: nobody is declared dead meanwhile." if "0" in together else ""),
        "Its file has all that was answered: appendonly is on."
        if kept
        else "It comes back without its data, or with an old snapshot: appendonly is off.",
    ]
    lost = "Every channel on it begins anew: subscribers are told 2500 and load again; presence is written again."
    return {**numbers, "says": says, "warnings": [] if kept else [lost]}
