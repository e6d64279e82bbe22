"""`manage.py ratelimit`: list the policies, show and reset a key, see who is denied most, try a rate."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from flotilla.natural_names import UnknownName, sentence, unreachable, user_named
from flotilla.ratelimit import inspection
from flotilla.ratelimit.algorithms.rates import EXACT_UP_TO, MEND, TICKS, Rate, parse_rate
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import by_user
from flotilla.store import StoreUnavailable

IDENTITY_HELP = (
    "the key: ip:ADDRESS, user:NAME, user:PRIMARY_KEY, user:id:ID for any id, header:VALUE, channel:NAME, net:ADDRESS"
)


class Command(BaseCommand):
    """Looks at the limits of the whole cluster."""

    help = "Inspect rate limits: policies, show, reset, hottest, test."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        commands.add_parser("policies", help="list the configured policies")
        for name, text in (
            ("show", "say how much of its quota a key has left"),
            ("reset", "give a key its whole quota again"),
        ):
            one = commands.add_parser(name, help=text)
            one.add_argument("policy")
            one.add_argument("identity", help=IDENTITY_HELP)
        commands.add_parser("hottest", help="list the keys denied most in the last hour").add_argument(
            "--most", type=int, default=20
        )
        commands.add_parser("test", help="say what a rate means").add_argument(
            "rate", help='for example "100/m" or "100/m burst=20"'
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['command']}")(options)
        except StoreUnavailable as error:
            raise CommandError(
                f"{str(error).rstrip('.')}. Is Redis running, and is RATE_LIMIT_REDIS_URL right?"
            ) from None

    def _policies(self, options: dict[str, Any]) -> None:
        for policy in get_limits().policies:
            shadow = ", shadow" if policy.shadow else ""
            self.stdout.write(
                f"{policy.name}: {policy.rate} per {policy.counts_by}, guards {', '.join(policy.guards)}, "
                f"cost {policy.cost}, {policy.failure} without Redis{shadow}"
            )

    def _show(self, options: dict[str, Any]) -> None:
        policy, identity = self._asked(options)
        rate = inspection.rate_for(policy, identity)
        if rate is None:
            self.stdout.write(f"{identity} is exempt from {policy.name}.")
            return
        answer = inspection.standing(policy, identity, rate)
        personal = "" if rate == policy.rate else f" (personal; others have {policy.rate})"
        verdict = "would be allowed" if answer.allowed else f"is denied for {answer.retry_after / 1e6:.3f} s"
        left = answer.remaining + (policy.cost if answer.allowed else 0)
        self.stdout.write(f"{policy.name}, {identity}: {rate}{personal}")
        self.stdout.write(f"{left} of {rate.quota} left; the next request {verdict}.")

    def _reset(self, options: dict[str, Any]) -> None:
        policy, identity = self._asked(options)
        used = inspection.reset(policy, identity)
        self.stdout.write(f"{identity} has the whole quota of {policy.name}" + (" again." if used else " already."))

    def _hottest(self, options: dict[str, Any]) -> None:
        found = inspection.hottest(options["most"])
        for hot in found:
            self.stdout.write(f"{hot.denials:8d}  {hot.policy}  {hot.identity}")
        if not found:
            self.stdout.write("Nothing was denied in the last hour.")

    def _test(self, options: dict[str, Any]) -> None:
        try:
            rate = parse_rate(options["rate"])
        except ValueError as error:
            raise CommandError(f"{error}. {MEND}") from None
        for line in describe(rate):
            self.stdout.write(line)

    def _asked(self, options: dict[str, Any]) -> tuple[Policy, str]:
        by_name = get_limits().by_name
        if options["policy"] not in by_name:
            known = ", ".join(by_name) or "none"
            raise CommandError(f"There is no policy {options['policy']!r}; configured: {known}.")
        return by_name[options["policy"]], inspection.read_identity(self._known(options["identity"]))

    def _known(self, identity: str) -> str:
        """An identity with the user's id, where it names a user; says which one was meant."""
        kind, _, name = identity.partition(":")
        if kind != "user":
            return identity
        try:
            user = user_named(name)
        except UnknownName as error:
            raise CommandError(sentence(error)) from None
        except DatabaseError as error:
            raise CommandError(f"{unreachable(error)} With user:id: before an id nobody is looked up.") from None
        self.stdout.write(f"user: {user}")
        return by_user(user.id)


def describe(rate: Rate) -> list[str]:
    """What a rate promises, in words."""
    if not rate.strict:
        return [
            f"{rate}: GCRA",
            f"at once after a pause: {rate.quota}; then one every {rate.interval / TICKS / 1e6:g} s",
            f"in any T seconds: at most {rate.quota} + T·{rate.count / rate.period:g}",
            f"a minute: at most {rate.quota + 60 * rate.count // rate.period}",
        ]
    kept = "every request has an entry" if not rate.grain else f"each entry stands for {rate.grain / 1e6:g} s"
    error = "exact" if rate.count <= EXACT_UP_TO else f"too strict by less than {rate.grain / 1e6:g} s"
    return [
        f"{rate}: strict",
        f"in any {rate.period} s: never more than {rate.count}",
        f"the log: {kept}; {error}",
    ]
