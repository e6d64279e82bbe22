import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management.base import BaseCommand

from store.models import Order
from store.services import change_status


async def close() -> None:
    async for order in Order.objects.all():
        await sync_to_async(change_status)(order.pk, "closed", "asyncio.run")


class Command(BaseCommand):
    help = "Closes all orders."

    def handle(self, **options: Any) -> None:
        asyncio.run(close())
