"""`manage.py ratelimit`: list the policies, show and reset a key, see who is denied most, try a rate."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError

from flotilla.command_line import MEANINGS, OurCommand, Status, away, misused, whole_number
from flotilla.natural_names import NamedUser, UnknownName, sentence, unreachable, user_named
from flotilla.ratelimit import inspection
from flotilla.ratelimit.algorithms.rates import EXACT_UP_TO, MEND, TICKS, Rate, parse_rate
from flotilla.ratelimit.asked_identity import Asked, asked_identity
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import wider_identity
from flotilla.store import StoreUnavailable

IDENTITY_HELP = (
    "whom, as the policy counts: a user, an address, a channel or a header's value; with its kind where it may be "
    "more than one: ip:ADDRESS, user:USER, channel:NAME, header:VALUE, net:ADDRESS, call:VALUE"
)


class Command(OurCommand):
    """Looks at the limits of the whole cluster."""

    help = "Inspect rate limits: policies, show, reset, hottest, test."
    examples = (
        ("policies", "what is limited, and by what it is counted"),
        ("hottest", "who was denied most in the last hour"),
        ("show messages user:ann", "what ann has left of the policy “messages”"),
        ("reset messages user:ann", "give her all of it back"),
        ("test '100/m burst=20'", "what a rate means"),
    )
    statuses = {status: MEANINGS[status] for status in (Status.NOT_DONE, Status.AWAY)}
    shape = {
        "policies": ("name", "rate", "counts_by", "guards", "cost", "failure", "shadow"),
        "standing": (
            *("policy", "identity", "user", "username", "rate", "usual_rate", "exempt"),
            *("quota", "left", "allowed", "retry_after"),
        ),
        "reset": ("policy", "identity", "user", "username", "was_used"),
        "hottest": ("policy", "identity", "denials"),
        "meaning": (),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, help="what to do")
        commands.add_parser("policies", help="list the configured policies")
        for name, text in (
            ("show", "say how much of its quota a key has left"),
            ("reset", "give a key its whole quota again"),
        ):
            one = commands.add_parser(name, help=text)
            one.add_argument("policy", help="its name, as `policies` lists it; NAME:wider is its wider bound")
            one.add_argument("identity", help=IDENTITY_HELP)
        hottest = commands.add_parser("hottest", help="list the keys denied most in the last hour")
        hottest.add_argument("--most", type=whole_number(1, 1000), default=20, help="how many [20]")
        test = commands.add_parser("test", help="say what a rate means")
        test.add_argument("rate", help='for example "100/m" or "100/m burst=20"')

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['command']}")(options)
        except StoreUnavailable as error:
            raise away(f"{str(error).rstrip('.')}. Is Redis running, and is RATE_LIMIT_REDIS_URL right?") from None
        except DatabaseError as error:
            raise away(f"{unreachable(error)} Personal limits are there.") from None
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None

    def _policies(self, options: dict[str, Any]) -> None:
        policies = get_limits().policies
        if options["as_json"]:
            self.tell({"policies": [_row(policy) for policy in policies]})
            return
        for policy in policies:
            shadow = ", shadow" if policy.shadow else ""
            self.stdout.write(
                f"{policy.name}: {policy.rate} per {policy.counts_by}, guards {', '.join(policy.guards)}, "
                f"cost {policy.cost}, {policy.failure} without Redis{shadow}"
            )

    def _show(self, options: dict[str, Any]) -> None:
        policy, asked = self._asked(options)
        found = [_standing(policy, asked)]
        wide = get_limits().by_name.get(f"{policy.name}:wider")
        shared = wider_identity(asked.identity, asked.address) if wide is not None else None
        if wide is not None and shared is not None and not found[0]["exempt"]:
            found.append(_standing(wide, Asked(shared)))
        if options["as_json"]:
            self.tell({"standing": found})
            return
        for one in found:
            for text in _in_words(one):
                self.stdout.write(text)

    def _reset(self, options: dict[str, Any]) -> None:
        policy, asked = self._asked(options)
        used = inspection.reset(policy, asked.identity)
        if options["as_json"]:
            self.tell({"reset": {"policy": policy.name, **_of(asked), "was_used": used}})
            return
        again = "again" if used else "already"
        self.stdout.write(f"{asked.identity} has the whole quota of {policy.name} {again}.")

    def _hottest(self, options: dict[str, Any]) -> None:
        found = inspection.hottest(options["most"])
        if options["as_json"]:
            self.tell({"hottest": [one._asdict() for one in found]})
            return
        for hot in found:
            self.stdout.write(f"{hot.denials:8d}  {hot.policy}  {hot.identity}")
        if not found:
            self.stdout.write("Nothing was denied in the last hour.")

    def _test(self, options: dict[str, Any]) -> None:
        try:
            meaning = describe(parse_rate(options["rate"]))
        except ValueError as error:
            raise misused(f"{error}. {MEND}") from None
        if options["as_json"]:
            self.tell({"meaning": meaning})
            return
        for text in meaning:
            self.stdout.write(text)

    def _asked(self, options: dict[str, Any]) -> tuple[Policy, Asked]:
        by_name = get_limits().by_name
        if options["policy"] not in by_name:
            known = ", ".join(by_name) or "none"
            raise CommandError(f"There is no policy {options['policy']!r}; configured: {known}.")
        policy = by_name[options["policy"]]
        try:
            asked = asked_identity(policy, options["identity"], _known_user)
        except ValueError as error:
            raise CommandError(f"{error}.") from None
        if asked.user is not None and not options["as_json"]:
            self.stdout.write(f"user: {asked.user}")
        return policy, asked


def _known_user(name: str) -> NamedUser:
    try:
        return user_named(name)
    except UnknownName as error:
        raise CommandError(sentence(error)) from None
    except DatabaseError as error:
        raise away(f"{unreachable(error)} With user:id: before an id nobody is looked up.") from None


def _row(policy: Policy) -> dict[str, Any]:
    names = ("name", "counts_by", "guards", "cost", "failure", "shadow")
    return {"rate": str(policy.rate), **{name: getattr(policy, name) for name in names}}


def _of(asked: Asked) -> dict[str, Any]:
    user, name = (asked.user.id, asked.user.name) if asked.user is not None else (None, None)
    return {"identity": asked.identity, "user": user, "username": name}


def _standing(policy: Policy, asked: Asked) -> dict[str, Any]:
    """What a request would find now; times in seconds."""
    rate = inspection.rate_for(policy, asked.identity)
    about = {"policy": policy.name, **_of(asked), "usual_rate": str(policy.rate), "exempt": rate is None}
    if rate is None:
        return about | {"rate": None, "quota": None, "left": None, "allowed": True, "retry_after": 0.0}
    answer = inspection.standing(policy, asked.identity, rate)
    left = answer.remaining + (inspection.cost(policy, rate) if answer.allowed else 0)
    retry_after = 0.0 if answer.allowed else answer.retry_after / 1e6
    return about | {
        "rate": str(rate),
        "quota": rate.quota,
        "left": left,
        "allowed": answer.allowed,
        "retry_after": retry_after,
    }


def _in_words(one: dict[str, Any]) -> list[str]:
    if one["exempt"]:
        return [f"{one['identity']} is exempt from {one['policy']}."]
    personal = "" if one["rate"] == one["usual_rate"] else f" (personal; others have {one['usual_rate']})"
    verdict = "would be allowed" if one["allowed"] else f"is denied for {one['retry_after']:.3f} s"
    return [
        f"{one['policy']}, {one['identity']}: {one['rate']}{personal}",
        f"{one['left']} of {one['quota']} left; the next request {verdict}.",
    ]


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
