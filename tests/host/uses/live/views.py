from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST
from flotilla import apublish

from live.models import receipts
from store.services import change_status


@require_POST
async def greet(request: HttpRequest) -> JsonResponse:
    """Publishes from a coroutine, and answers with where it stands in the channel's history."""
    user = await request.auser()
    position = await apublish(f"orders:#{user.pk}", {"greeting": "from an async view"})
    return JsonResponse({"offset": position.offset})


@require_POST
@transaction.atomic
def buy(request: HttpRequest, order_id: int, times: int) -> JsonResponse:
    """Changes an order several times, each change published, and has something to do after the commit."""
    for _ in range(times):
        change_status(order_id, "bought", "a view")
    transaction.on_commit(lambda: receipts.append(order_id))
    return JsonResponse({"bought": order_id})
