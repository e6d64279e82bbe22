import asyncio
from typing import Any

from django.core.management.base import BaseCommand
from flotilla import apublish

from accounts.models import User


async def greet_all() -> None:
    async with asyncio.TaskGroup() as group:
        async for user in User.objects.all():
            group.create_task(apublish(f"orders:#{user.pk}", {"greeting": "from asyncio.run"}))


class Command(BaseCommand):
    help = "Greets everybody, twice: each run has an event loop of its own."

    def handle(self, **options: Any) -> None:
        asyncio.run(greet_all())
        asyncio.run(greet_all())
