"""What soaks: `manage.py serve` with two instances, its Redis and its database, and a service that webhooks tell.

Whatever is kept for a time by design is kept for little: it must come and go several times within the run.
"""

import signal
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import redis

from flotilla.ratelimit.background import MAX_HOTTEST
from tests.cluster.support.harness import Served, manage
from tests.realtime.webhooks.receiver import SECRET, Service

INSTANCES = 2
STOP_WITHIN = 60.0  # seconds, on a busy machine
PING_INTERVAL, PONG_TIMEOUT = 10, 8
KEPT = 60  # seconds: history, rows of the outbox that are sent
CHANGES = {"history_size": 50, "history_ttl": KEPT, "history_meta_ttl": 2 * KEPT}
OPEN = {
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
    "allow_publish_for_client": True,
    "allow_history_for_client": True,
    "allow_history_for_anonymous": True,
}
PRESENT = {
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "allow_presence_for_client": True,
    "allow_presence_for_anonymous": True,
}
HISTORY = CHANGES | {"force_recovery": True}
MAP = CHANGES | {"map": True, "allow_remove_for_client": True}
CONFIG: dict[str, Any] = {
    "anonymous": True,
    "user_personal_channel": True,
    "ping_interval": PING_INTERVAL,
    "pong_timeout": PONG_TIMEOUT,
    "position_check_interval": 10,
    "recheck_interval": 20,
    "outbox_keep": KEPT,
    "compression": True,
    "namespaces": {
        "room": OPEN | HISTORY | PRESENT,
        "plain": OPEN,
        "open": OPEN,  # of what clients send
        "turn": OPEN | HISTORY | PRESENT,
        "price": OPEN | HISTORY | {"allowed_delta_types": ["fossil"], "delta_publish": True},
        "tagged": OPEN | HISTORY | {"allow_tags_filter": True},
        "last": OPEN | CHANGES | {"history_size": 1, "force_recovery": True, "force_recovery_mode": "cache"},
        "board": OPEN | HISTORY | {"conflate": True},
        "map": OPEN | MAP | {"map_key_ttl": 20},
        "cursors": OPEN | MAP | {"map_client_key": "client_id", "map_remove_client_on_unsubscribe": True},
        "lobby": OPEN | HISTORY | PRESENT | {"map_clients": True, "map_users": True, "join_leave": "user"},
        "kept": OPEN | HISTORY | {"durable": True},
        "cards": HISTORY | {"allow_subscribe_for_client": True, "allow_history_for_client": True},
        "flood": OPEN,
    },
    "rate_limits": {
        "publishes": {"guards": "ws.publish", "key": "user_or_ip", "rate": "50/s burst=100"},
        "floods": {"guards": "ws.publish:flood", "key": "user_or_ip", "rate": "5/s"},
        "commands": {"guards": "ws.command", "key": "connection", "rate": "100/s burst=200"},
        "pages": {"guards": "http:/limited/", "key": "ip", "rate": "1/s burst=5"},
    },
}
ADMIN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
boss = User.objects.create_superuser("boss")
session = SessionStore()
session[SESSION_KEY] = str(boss.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = boss.get_session_auth_hash()
session.save()
print(session.session_key)
"""


class World(Served):
    """All of it; `session` is the admin's, once it has been started."""

    def __init__(self, home: Path, service: Service, database: str = "") -> None:
        """`database`: a URL; "" is SQLite."""
        webhooks = {"crm": {"url": service.url, "secret": SECRET, "allow_private": True}}
        more = {"DJANGO_SETTINGS_MODULE": "tests.soak.soakapp.settings"}
        more |= {"DATABASE_URL": database} if database else {}
        super().__init__(home, CONFIG | {"webhooks": webhooks}, INSTANCES, "everysec", **more)
        self.session = ""

    def start(self) -> None:
        super().start()
        self._fill_hottest()
        self.session = manage(self.env, "shell", "--verbosity", "0", "-c", ADMIN).split()[-1]

    def _fill_hottest(self) -> None:
        """The list of those denied most is filled with names nobody has, so that the run's own find it full."""
        names = {f"floods\nuser:nobody-{number:04d}": 16.0 for number in range(MAX_HOTTEST)}
        with closing(redis.Redis(port=self.redis.port)) as connection:
            connection.zadd("{rl}:flotilla:hottest", names)

    def stop(self) -> None:
        self.send(signal.SIGTERM)
        if self.running:
            with suppress(subprocess.TimeoutExpired):
                self.wait(STOP_WITHIN)
        super().stop()

    @property
    def metrics_ports(self) -> list[int]:
        """Of the instances, in their order."""
        first = int(self.env["METRICS_PORT"])
        return [first + number for number in range(INSTANCES)]
