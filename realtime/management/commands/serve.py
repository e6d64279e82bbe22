"""`manage.py serve`: the whole platform on this machine, from Redis up, until Ctrl-C or SIGTERM."""

import asyncio
import os
import sys
from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from flotilla._extras import MissingExtra, require
from flotilla.presence.leases import expire_sync
from flotilla.realtime.server.child import Plan
from flotilla.realtime.server.console import say
from flotilla.realtime.server.embedded_redis import EmbeddedRedis
from flotilla.realtime.server.listeners import reserve
from flotilla.realtime.server.private_files import private_tree
from flotilla.realtime.server.redis_binary import NoRedis
from flotilla.realtime.server.supervisor import Supervisor
from flotilla.store import get_store

APPLICATION = "project.asgi:application"
SLACK = 4.0  # seconds an instance gets beyond its drain's deadline before it is killed


class Command(BaseCommand):
    """Runs and supervises the instances."""

    help = "Runs N instances behind one address, and an embedded Redis unless REDIS_URL is set."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Each option's default is its environment variable."""
        parser.add_argument("--instances", type=int, default=settings.INSTANCES, help="how many [INSTANCES, 2]")
        parser.add_argument("--host", default=settings.HOST, help="address to listen on [HOST, 127.0.0.1]")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port to listen on [PORT, 8000]")
        parser.add_argument(
            "--root-path", default=settings.ROOT_PATH, help="path below which the whole site lies [ROOT_PATH, none]"
        )
        parser.add_argument(
            "--demo", action="store_true", help="to try it out: open demo channels, DEBUG, an admin user"
        )

    def handle(self, *, instances: int, host: str, port: int, root_path: str, demo: bool, **_: Any) -> None:
        """Serve until told to stop."""
        try:
            require("manage.py serve", "daphne", "daphne", "twisted", "httptools")
        except MissingExtra as error:
            raise CommandError(f"{error}, or serve with another ASGI server") from None
        _set_root_path(root_path)
        if demo and not settings.FLOTILLA_DEMO:
            raise CommandError("write --demo directly after `manage.py serve`, or set FLOTILLA_DEMO=1")
        if not 1 <= instances <= 256:
            raise CommandError("--instances is a number from 1 to 256")
        try:
            address = reserve(host, port)
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error}. Choose another with --port.") from error
        with address:
            private_tree(settings.VAR_DIR)
            self._prepare_database()
            try:
                asyncio.run(self._serve(host, address.getsockname()[1], instances))
            except NoRedis as error:
                raise CommandError(str(error)) from error
            except KeyboardInterrupt:  # before there was anything to stop
                sys.exit(130)

    def _prepare_database(self) -> None:
        if settings.DATABASE_GIVEN:
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                say("", "the database needs migrations: run `manage.py migrate`")
                connections.close_all()
                return
        else:
            call_command("migrate", interactive=False, verbosity=0)
        if settings.FLOTILLA_DEMO:
            _make_admin()
            call_command("make_rooms", settings.DEMO_PASSWORD)
        connections.close_all()

    async def _serve(self, host: str, port: int, instances: int) -> None:
        redis = None if settings.ENVIRONMENT.text("REDIS_URL") else EmbeddedRedis(settings.VAR_DIR / "redis")
        environment = dict(os.environ) | {"FLOTILLA_DEMO": str(int(settings.FLOTILLA_DEMO))}
        if redis is not None:
            await redis.start()
            environment["REDIS_URL"] = redis.url
        plan = Plan(host, port, _command, environment, settings.DRAIN_DEADLINE + SLACK)
        supervisor = Supervisor(
            plan,
            instances=instances,
            name=settings.INSTANCE_ID,
            metrics_port=settings.METRICS_PORT,
            say=say,
            redis=redis,
            on_death=lambda incarnation: expire_sync(get_store(), incarnation),
        )
        greeting = asyncio.create_task(_greet(supervisor, host, port, instances))
        try:
            await supervisor.run()
        finally:
            greeting.cancel()


def _command(descriptor: int) -> list[str]:
    return [sys.executable, "-m", "flotilla.realtime.server.daphne", "--fd", str(descriptor), APPLICATION]


def _set_root_path(value: str) -> None:
    """For the instances, whose settings read it. Raises CommandError."""
    asked = replace(settings.ENVIRONMENT, values={"ROOT_PATH": value}, problems=[])
    os.environ["ROOT_PATH"] = asked.root_path("ROOT_PATH")
    for problem in asked.problems:
        raise CommandError(f"--root-path: {problem.message}. {problem.hint}")


def _make_admin() -> None:
    """An admin user with a random password, when there is nobody yet; the password is shown this once."""
    from django.contrib.auth import get_user_model
    from django.utils.crypto import get_random_string

    users = get_user_model()._default_manager
    if not users.exists():
        password = get_random_string(14)
        users.create_superuser("admin", "admin@localhost", password)
        say("", f"made the admin user: name admin, password {password} (shown only now)")


async def _greet(supervisor: Supervisor, host: str, port: int, instances: int) -> None:
    await supervisor.all_ready()
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    root = os.environ["ROOT_PATH"]
    url = f"http://{shown}:{port}{root}"
    lines = [
        f"{instances} instances serve {url}",
        f"  demo     {url}/",
        f"  admin    {url}/admin/",
        f"  client   ws://{shown}:{port}{root}/connection/websocket",
        f"  health   {url}/health/ready",
    ]
    if settings.METRICS_PORT:
        last = f" … :{settings.METRICS_PORT + instances - 1}" if instances > 1 else ""
        lines.append(
            f"  metrics  http://{settings.METRICS_HOST}:{settings.METRICS_PORT}/metrics{last}, one per instance"
        )
    if settings.FLOTILLA_DEMO:
        lines.insert(2, f"  rooms    {url}/rooms/ as ann or bob, password {settings.DEMO_PASSWORD}")
        lines.append(f"  API key  in {settings.VAR_DIR / 'api_key'}")
    if settings.DEBUG:
        lines.append("  DEBUG is on: error pages show internals; never use it in public")
    lines.append("  Ctrl-C ends everything")
    for line in lines:
        say("", line)
