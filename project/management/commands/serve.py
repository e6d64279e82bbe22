"""`manage.py serve` of this service: its database is made where none was given, a Redis is run unless REDIS_URL is set,
and `--demo` brings the demo.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import call_command

from flotilla.command_line import misused
from flotilla.realtime.management.commands.serve import Command as Serve
from flotilla.realtime.management.commands.serve import needs_migrations
from flotilla.realtime.server.console import say
from flotilla.realtime.server.embedded_redis import EmbeddedRedis
from flotilla.realtime.server.private_files import private_tree


class Command(Serve):
    """Runs and supervises the instances."""

    help = "Runs N instances behind one address, and an embedded Redis unless REDIS_URL is set."
    examples = (("--demo", "to try it out"), *Serve.examples)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Each option's default is its environment variable, in capitals."""
        super().add_arguments(parser)
        parser.add_argument(
            "--demo", action="store_true", help="to try it out: open demo channels, DEBUG, an admin user"
        )

    def handle(self, *, demo: bool, **options: Any) -> None:  # type: ignore[override]
        """Serve until told to stop."""
        if demo and not settings.FLOTILLA_DEMO:
            raise misused("write --demo directly after `manage.py serve`, or set FLOTILLA_DEMO=1")
        private_tree(settings.VAR_DIR)
        super().handle(**options)

    def own_redis(self) -> EmbeddedRedis | None:
        """One that is fetched if need be, for whoever tries things out has none."""
        return None if settings.ENVIRONMENT.text("REDIS_URL") else EmbeddedRedis(settings.VAR_DIR / "redis")

    def prepare(self) -> None:
        """The database of a first start, and what the demo has in it."""
        if not settings.DATABASE_GIVEN:
            call_command("migrate", interactive=False, verbosity=0)
        elif needs_migrations():
            super().prepare()
            return
        if settings.FLOTILLA_DEMO:
            _make_admin()
            call_command("make_rooms", settings.DEMO_PASSWORD)
            call_command("make_board")

    def environment(self) -> dict[str, str]:
        """The demo is every instance's."""
        return super().environment() | {"FLOTILLA_DEMO": str(int(settings.FLOTILLA_DEMO))}

    def greeting(self, url: str, instances: int, *, has_endpoint: bool) -> Iterator[str]:
        """With what the demo brings."""
        *lines, last = super().greeting(url, instances, has_endpoint=has_endpoint)
        yield from lines
        if settings.FLOTILLA_DEMO:
            yield f"  rooms    {url}{self.root_path}/rooms/ as ann or bob, password {settings.DEMO_PASSWORD}"
            yield f"  notices  {url}{self.root_path}/notices/ as the same"
            yield f"  board    {url}{self.root_path}/board/ as the same"
            yield f"  API key  in {settings.VAR_DIR / 'api_key'}"
        yield last


def _make_admin() -> None:
    """An admin user with a random password, when there is nobody yet; the password is shown this once."""
    from django.contrib.auth import get_user_model
    from django.utils.crypto import get_random_string

    users = get_user_model()._default_manager
    if not users.exists():
        password = get_random_string(14)
        users.create_superuser("admin", "admin@localhost", password)
        say("", f"made the admin user: name admin, password {password} (shown only now)")
