"""Logged-in people in browsers of their own: made in the cluster's database, logged in by Django's form."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE, ROOT, Cluster

CLUSTER_PAGE = "/admin/flotilla_monitoring/cluster/"
PASSWORD = "a password of the tests"
MAKE = """
from django.contrib.auth.models import Permission, User
user, made = User.objects.get_or_create(username={name!r}, is_staff=True)
if made:
    user.set_password({password!r})  # a new one would end the sessions
    user.save()
user.user_permissions.set(Permission.objects.filter(codename__in={permissions!r}))
print(user.pk)
"""
SET_ASIDE = """
from django.utils import timezone
from flotilla.realtime.models import OutboxRow
row = OutboxRow.objects.create(
    channel={channel!r}, body={body!r}, failed_at=timezone.now(), attempts=5, error={error!r}
)
print(f"default:{{row.pk}}")
"""


def make_row_set_aside(cluster: Cluster, channel: str, text: str) -> str:
    """A row of the outbox that could not be sent; returns its name."""
    body = json.dumps({"data": {"text": text}}).encode()
    code = SET_ASIDE.format(channel=channel, body=body, error="the namespace was not configured")
    return manage(cluster, "shell", "--verbosity", "0", "-c", code).split()[-1]


def make_user(cluster: Cluster, name: str, *permissions: str) -> str:
    """A member of the staff with these permissions alone; returns the id."""
    code = MAKE.format(name=name, password=PASSWORD, permissions=permissions)
    return manage(cluster, "shell", "--verbosity", "0", "-c", code).split()[-1]


def manage(cluster: Cluster, *words: str) -> str:
    """What a command says that is run beside the cluster."""
    env = {**os.environ, "FLOTILLA_VAR": str(cluster.log.parent), "FLOTILLA_DEMO": "1"}
    for inherited in ("REDIS_URL", "DATABASE_URL", "INSTANCE_ID", "DJANGO_SETTINGS_MODULE"):
        env.pop(inherited, None)
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def watched_tab(browser: Browser, **options: Any) -> Iterator[Page]:
    """A tab of a browser of its own (`new_context` has its options), in which no script of ours may fail."""
    complaints: list[str] = []
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
    finally:
        context.close()
    assert not complaints


def log_in_as_admin(page: Page, cluster: Cluster) -> None:
    """As the admin user that the first start made; the page "Cluster" follows."""
    made = re.search(r"name admin, password (\S+)", cluster.log.read_text())
    assert made is not None
    page.goto(f"{cluster.url}/admin/login/?next={CLUSTER_PAGE}")
    page.fill("#id_username", "admin")
    page.fill("#id_password", made[1])
    page.click("input[type=submit]")


def log_in_as(page: Page, cluster: Cluster, name: str, password: str = PASSWORD) -> None:
    """By the admin's form."""
    page.goto(f"{cluster.url}/admin/login/?next=/admin/")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("input[type=submit]")
    expect(page.locator("#user-tools")).to_be_visible()


def in_the_demo(browser: Browser, cluster: Cluster, name: str, closing: Callable[[Callable[[], None]], None]) -> Page:
    """Somebody's tab with the demo page, connected as themselves."""
    context = browser.new_context(viewport={"width": 1360, "height": 820})
    context.set_default_timeout(PATIENCE)
    closing(context.close)
    page = context.new_page()
    log_in_as(page, cluster, name)
    page.goto(cluster.url)
    expect(page.locator("#state")).to_have_attribute("data-state", "connected")
    return page


def refreshed(page: Page, times: int = 2) -> None:
    """Wait until the rows have been refreshed so many times."""
    for _ in range(times):
        page.evaluate(
            "() => new Promise((done) =>"
            " document.querySelector('#rows').addEventListener('refreshed', () => done(), { once: true }))"
        )


def log_in_to_rooms(page: Page, cluster: Cluster, name: str, room: str) -> None:
    """As ann or bob, into a room of the example, which asks to log in and leads on."""
    said = re.search(r"as ann or bob, password (\S+)", cluster.log.read_text())
    assert said is not None
    page.goto(f"{cluster.url}/rooms/{room}/")
    page.fill("#id_username", name)
    page.fill("#id_password", said[1])
    page.click("text=Log in")
