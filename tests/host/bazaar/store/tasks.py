from celery import shared_task

from store.services import change_status


@shared_task
def ship(order_id: int) -> None:
    change_status(order_id, "shipped", "celery")
