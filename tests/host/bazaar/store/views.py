from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from accounts.models import User
from store.models import Order
from store.services import change_status


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    return HttpResponse("\n".join(str(order) for order in Order.objects.filter(owner=request.user)))


@require_POST
async def cancel(request: HttpRequest, order_id: int) -> JsonResponse:
    user = await request.auser()
    if not await Order.objects.filter(pk=order_id, owner_id=user.pk).aexists():
        return JsonResponse({}, status=404)
    order = await sync_to_async(change_status)(order_id, "cancelled", "an async view")
    return JsonResponse({"status": order.status})
