"""`manage.py serve`: the project's ASGI application in several supervised instances behind one address, until Ctrl-C or
SIGTERM.

What an installation needs besides (a database that is made, a Redis of its own, more words of greeting) is in methods
that a project's own command of this name may extend: `prepare`, `own_redis`, `greeting`.
"""

import asyncio
import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.urls import NoReverseMatch, Resolver404, resolve, reverse

from flotilla._extras import MissingExtra, require
from flotilla.command_line import OurCommand, Status, misused, whole_number
from flotilla.conf import set_for_this_process
from flotilla.config_reader import ConfigProblems
from flotilla.presence.leases import expire_sync
from flotilla.ratelimit.conf import MAX_INSTANCES
from flotilla.realtime.routing import ENDPOINT
from flotilla.realtime.server.child import Plan
from flotilla.realtime.server.conf import ServerConfig, get_server_config
from flotilla.realtime.server.console import say, speak_json
from flotilla.realtime.server.embedded_redis import EmbeddedRedis
from flotilla.realtime.server.listeners import reserve
from flotilla.realtime.server.redis_binary import ADVICE, NoRedis
from flotilla.realtime.server.supervisor import Supervisor
from flotilla.store import get_store
from flotilla.store.conf import get_store_config

SLACK = 4.0  # seconds an instance gets beyond its drain's deadline before it is killed
ROOT_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
SHOWN = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # where this machine finds one that listens everywhere
PAGES = (("admin", "admin:index"), ("API", "realtime_openapi"), ("token", "flotilla_token"))


class Command(OurCommand):
    """Runs and supervises the instances."""

    help = "Runs the project's ASGI application in N instances behind one address."
    requires_system_checks = []  # they are run when it is known whether a Redis is brought along
    examples: ClassVar[Sequence[tuple[str, str]]] = (
        ("", "as the settings say, until Ctrl-C"),
        ("--instances 4 --host 0.0.0.0 --port 80", "four behind one address"),
    )
    statuses = {Status.NOT_DONE: "it could not begin: one sentence on standard error says why"}
    lines = True
    shape = {"from": (), "said": (), "log": ()}

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Each option's default is in FLOTILLA, under the same name."""
        try:
            config = get_server_config()
        except ConfigProblems:  # help is given all the same, and `handle` runs the checks that say why
            config = ServerConfig()
        instances, port = whole_number(1, MAX_INSTANCES), whole_number(0, 65_535)
        parser.add_argument("--instances", type=instances, default=config.instances, help="how many [%(default)s]")
        parser.add_argument("--host", default=config.host, help="address to listen on [%(default)s]")
        parser.add_argument("--port", type=port, default=config.port, help="port to listen on [%(default)s]")
        parser.add_argument("--root-path", default=config.root_path, help="path below which the whole site lies [none]")

    def handle(self, *, instances: int, host: str, port: int, root_path: str, **options: Any) -> None:
        """Serve until told to stop."""
        if options["as_json"]:
            speak_json()
        try:
            require("manage.py serve", "daphne", "daphne", "twisted", "httptools")
        except MissingExtra as error:
            raise CommandError(f"{error}, or serve with another ASGI server") from None
        application = asgi_application()
        self.root_path = root_path.rstrip("/")
        if not ROOT_PATH.fullmatch(self.root_path):
            raise misused(f"--root-path: {root_path!r} is not a path that a site can have, as /realtime is")
        try:
            address = reserve(host, port)
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error}. Choose another with --port.") from error
        with address:
            try:
                redis = self.own_redis()
                if redis is not None:
                    set_for_this_process(redis_url=redis.url)
                self.check()
                self.prepare()
                connections.close_all()
                asyncio.run(self._serve(application, redis, host, address.getsockname()[1], instances))
            except NoRedis as error:
                raise CommandError(str(error)) from error
            except KeyboardInterrupt:  # before there was anything to stop
                sys.exit(130)

    # What an installation may do in its own way

    def own_redis(self) -> EmbeddedRedis | None:
        """The Redis that is run for the instances; None where one is configured. Raises NoRedis.

        Without a configured one and with DEBUG on, one that is on the PATH is run, with its data in `var_dir`.
        """
        if get_store_config().redis_urls:
            return None
        if not settings.DEBUG:
            raise NoRedis(f"No Redis is configured. {ADVICE}")
        return EmbeddedRedis(Path(get_server_config().var_dir) / "redis", fetch=False)

    def prepare(self) -> None:
        """What is done before the instances start."""
        if needs_migrations():
            say("", "the database needs migrations: run `manage.py migrate`")

    def environment(self) -> dict[str, str]:
        """The environment of the instances."""
        return dict(os.environ) | {"ROOT_PATH": self.root_path}

    def greeting(self, url: str, instances: int, *, has_endpoint: bool) -> Iterator[str]:
        """What is said when all instances serve `url`; `has_endpoint`: our clients among others."""
        yield f"{instances} {'instances serve' if instances > 1 else 'instance serves'} {url}{self.root_path}"
        yield from (f"  {name:<8} {url}{path}" for name, path in self.pages())
        if has_endpoint:
            yield f"  client   {url.replace('http', 'ws', 1)}{self.root_path}{ENDPOINT}"
            yield f"  health   {url}{self.root_path}/health/ready"
        else:
            yield f"  nothing of Flotilla answers: {settings.ASGI_APPLICATION} does not have it. In its module, write"
            yield "  application = flotilla.asgi(get_asgi_application())"
        yield from _metrics(instances)
        if settings.DEBUG:
            yield "  DEBUG is on: error pages show internals; never use it in public"
        yield "  Ctrl-C ends everything"

    def pages(self) -> Iterator[tuple[str, str]]:
        """Pages that this project has, with their paths."""
        try:
            resolve("/")
            yield "site", f"{self.root_path}/"
        except Resolver404:
            pass
        for name, view in PAGES:
            try:
                yield name, _below(self.root_path, reverse(view))
            except NoReverseMatch:
                continue

    # Serving

    async def _serve(self, application: str, redis: EmbeddedRedis | None, host: str, port: int, instances: int) -> None:
        environment = self.environment()
        if redis is not None:
            await redis.start()
            environment["REDIS_URL"] = redis.url
        config = get_server_config()

        def command(descriptor: int) -> list[str]:
            module = ["-m", "flotilla.realtime.server.daphne", "--fd", str(descriptor)]
            return [sys.executable, *module, "--root-path", self.root_path, application]

        supervisor = Supervisor(
            Plan(host, port, command, environment, config.drain_deadline + SLACK),
            instances=instances,
            name=get_store_config().instance_id,
            metrics_port=config.metrics_port,
            say=say,
            redis=redis,
            on_death=lambda incarnation: expire_sync(get_store(), incarnation),
        )
        greeting = asyncio.create_task(self._greet(supervisor, host, port, instances))
        try:
            await supervisor.run()
        finally:
            greeting.cancel()

    async def _greet(self, supervisor: Supervisor, host: str, port: int, instances: int) -> None:
        await supervisor.all_ready()
        shown = SHOWN.get(host, f"[{host}]" if ":" in host else host)
        has_endpoint = any(child.incarnation for child in supervisor.children)
        for line in self.greeting(f"http://{shown}:{port}", instances, has_endpoint=has_endpoint):
            say("", line)


def needs_migrations() -> bool:
    """Whether the default database has not all its tables; False for a project without one."""
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    except ImproperlyConfigured:
        return False
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def asgi_application() -> str:
    """The project's ASGI application as a server's command line wants it. Raises CommandError, with the mend."""
    dotted = getattr(settings, "ASGI_APPLICATION", None)
    mend = 'Set it to the dotted path of the application, as ASGI_APPLICATION = "mysite.asgi.application".'
    if not isinstance(dotted, str) or "." not in dotted:
        raise CommandError(f"settings.ASGI_APPLICATION does not say what to serve. {mend}")
    module, _, name = dotted.rpartition(".")
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise CommandError(f"settings.ASGI_APPLICATION is {dotted!r}, but there is no module {module}. {mend}")
    return f"{module}:{name}"


def _below(root_path: str, path: str) -> str:
    """A URL's path, below the root path whether Django knows of that (FORCE_SCRIPT_NAME) or not."""
    return path if path.startswith(f"{root_path}/") else f"{root_path}{path}"


def _metrics(instances: int) -> Iterator[str]:
    config = get_server_config()
    if config.metrics_port:
        last = f" … :{config.metrics_port + instances - 1}, one per instance" if instances > 1 else ""
        yield f"  metrics  http://{config.metrics_host}:{config.metrics_port}/metrics{last}"
