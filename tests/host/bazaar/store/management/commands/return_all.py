from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from store.models import Order
from store.services import change_status


def take_back(order_id: int) -> None:
    change_status(order_id, "returned", "a thread")
    connection.close()


class Command(BaseCommand):
    help = "Takes all orders back, four at a time."

    def handle(self, **options: Any) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(take_back, list(Order.objects.values_list("pk", flat=True))))
