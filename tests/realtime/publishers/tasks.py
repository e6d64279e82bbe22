"""A project's Celery application; the process that forks the workers has published before."""

import asyncio
import os

import django
from celery import Celery
from celery.signals import worker_init

django.setup()

from tests.realtime.publishers.places import committed, sent  # noqa: E402  which needs the apps

FOLDER = os.environ["PUBLISHERS_FOLDER"]

app = Celery("publishers", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": FOLDER, "data_folder_out": FOLDER, "control_folder": FOLDER},
    broker_connection_retry_on_startup=False,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
)


@worker_init.connect
def publish_first(**_: object) -> None:
    """In the parent, before any child is there."""
    committed("parent")
    asyncio.run(sent("parent"))


@app.task
def order(number: int) -> None:
    """A task that publishes in both ways."""
    committed(f"task {number}")
    asyncio.run(sent(f"loop {number}"))
