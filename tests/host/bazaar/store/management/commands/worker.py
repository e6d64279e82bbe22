from typing import Any

from django.core.management.base import BaseCommand

from store.models import Order
from store.services import change_status


class Command(BaseCommand):
    help = "Packs the orders that are paid, one by one, until none is left."

    def handle(self, **options: Any) -> None:
        while order := Order.objects.filter(status="paid").first():
            change_status(order.pk, "packed", "a worker")
            self.stdout.write(f"packed {order.pk}")
