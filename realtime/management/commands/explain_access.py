"""`manage.py explain_access USER CHANNEL`: every rule that is asked, its answer, and the verdict.

Exit status 0: the user may do it. 1: may not, or the question makes no sense.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import CommandError

from flotilla.command_line import Status, misused
from flotilla.natural_names import NamedUser
from flotilla.ratelimit import inspection
from flotilla.ratelimit.http.addresses import counted
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.access.channels import namespace_of
from flotilla.realtime.access.explain import Verdict, explain
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.blocks.blocklist import ADDRESS, USER, Block
from flotilla.realtime.conf import get_config
from flotilla.realtime.management.commands._shell import ClusterCommand, known_user, told
from flotilla.realtime.management.commands._table import clock
from flotilla.store import get_store

ACTIONS = ("connect", "subscribe", "publish", "presence", "history")


class Command(ClusterCommand):
    """Explain who may do what."""

    help = (
        "Explain what a user may do in a channel: every rule that is asked, its answer, and the verdict. "
        "Ends with status 1 when the user may not do it."
    )
    examples = (
        ("ann chat:lobby", "what ann may do in a channel, and why"),
        ("ann chat:lobby --action publish --json", "whether she may publish: the status says it"),
    )
    statuses = {**ClusterCommand.statuses, Status.NOT_DONE: "the user may not do it, or there is no such user"}
    shape = {
        "user": (),
        "username": (),
        "channel": (),
        "verdicts": ("action", "allowed", "error", "rules"),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help='the user\'s name or primary key, or id: and any id; "" is a visitor')
        parser.add_argument("channel", help="the channel, as in chat:lobby")
        parser.add_argument("--address", default="", help="an address the user comes from: whether it is blocked, too")
        parser.add_argument("--data", default="null", help="the data that the client would send, as JSON")
        parser.add_argument(
            "--action", choices=ACTIONS, default="subscribe", help="what the exit status is about (%(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            data = json.loads(options["data"])
        except ValueError as error:
            raise misused(f"The data is not JSON ({error}).") from None
        user = known_user(options["user"]) if options["user"] else NamedUser("")
        verdicts = async_to_sync(explain)(user.id, options["channel"], get_config(), data)
        told(lambda: _add_obstacles(user, options["address"], options["channel"], verdicts))
        if options["as_json"]:
            self.tell(_told(user, options["channel"], verdicts))
        else:
            self._write(user, verdicts)
        self._judge(user, options["action"], options["channel"], verdicts)

    def _write(self, user: NamedUser, verdicts: list[Verdict]) -> None:
        self.stdout.write(f"user: {user}")
        for verdict in verdicts:
            for rule, answer in verdict.rules:
                self.stdout.write(f"  {rule}: {answer}")
            style = self.style.SUCCESS if verdict.allowed else self.style.ERROR
            why = f" ({verdict.error})" if verdict.error else ""
            self.stdout.write(style(f"{verdict.action}: {'allowed' if verdict.allowed else 'denied'}{why}"))

    def _judge(self, user: NamedUser, action: str, channel: str, verdicts: list[Verdict]) -> None:
        """Where the channel cannot be, connecting and subscribing alone have verdicts: subscribing is denied."""
        by_action = {verdict.action: verdict for verdict in verdicts}
        verdict = by_action.get(action) or by_action["subscribe"]
        if not verdict.allowed:
            why = f" ({verdict.error})" if verdict.error else ""
            raise CommandError(f"denied: {action} in {channel} by {user}{why}.")


def _add_obstacles(user: NamedUser, address: str, channel: str, verdicts: list[Verdict]) -> None:
    """What keeps somebody out who would be allowed: blocks, which nobody gets past, and limits that deny now."""
    names = [
        name for name in ((USER + user.id) if user.id else "", (ADDRESS + counted(address)) if address else "") if name
    ]
    blocked = [_block(found) for found in blocklist.find(get_store(), names)] if names else []
    connect = next(verdict for verdict in verdicts if verdict.action == "connect")
    connect.rules.append(("no block", f"no ({'; '.join(blocked)})" if blocked else "yes"))
    if blocked:
        for verdict in verdicts:
            verdict.allowed = False
    subject = Subject(ip=address, user=user.id, channel=channel)
    namespace = namespace_of(channel)
    for verdict in verdicts:
        for text in _limits(verdict.action, namespace, subject):
            verdict.rules.append(text)


def _limits(action: str, namespace: str | None, subject: Subject) -> Iterator[tuple[str, str]]:
    """The policies that guard an action and count this subject alone, and what each would answer now."""
    limits = get_limits()
    guards = [f"ws.{action}", *([] if action == "connect" else ["ws.command", f"ws.{action}:{namespace}"])]
    guards += [] if action == "connect" else [f"namespace:{namespace}"]
    shared = [policy for policy in limits.guarding(*guards) if not policy.in_memory and policy.narrow is None]
    for policy in shared:
        for claim in limits.claims([policy], subject):
            answer = inspection.standing(policy, claim.identity, claim.rate)
            wait = answer.retry_after / 1e6
            left = "yes" if answer.allowed else f"not for {wait:.1f} s: {claim.rate} is used up"
            yield f"limit {policy.name} ({claim.identity})", left


def _block(block: Block) -> str:
    note = f", {block.about['note']}" if block.about.get("note") else ""
    return f"until {clock(block.until)} by {block.about.get('by') or 'nobody known'}{note}"


def _told(user: NamedUser, channel: str, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "user": user.id,
        "username": user.name,
        "channel": channel,
        "verdicts": [
            {
                "action": verdict.action,
                "allowed": verdict.allowed,
                "error": verdict.error,
                "rules": [{"rule": rule, "answer": answer} for rule, answer in verdict.rules],
            }
            for verdict in verdicts
        ],
    }
