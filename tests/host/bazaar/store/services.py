"""The one place where an order changes, whoever asks: views, tasks, workers."""

from django.db import transaction

from store.models import Order


@transaction.atomic
def change_status(order_id: int, status: str, by: str) -> Order:
    order = Order.objects.select_for_update().get(pk=order_id)
    order.status, order.changed_by = status, by
    order.save()
    return order
